"""The losses of training: one or more ranking losses, and a regulariser that keeps the vectors sparse.

Ranking losses: `infonce`, `kl_divergence`, `margin_mse`; `ensemble` combines the scores of several teachers.
Regularisers: `flops`, `idf_flops`, `thresholded_flops`, `l1`. Their gradient is that of the formula on active weights
only: a term that a document does not have is not pushed further down.

Below, w(d, v) is the weight of term v in document d, s(q, d) the student's and t(q, d) the teacher's score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

SCALE = 30.0  # of the ensemble's scores


def flops(weights: Tensor, share: Tensor | None = None) -> Tensor:
    """FLOPS: the expected number of products that a query costs (Paria et al. 2020, arXiv:2004.05665).

    L = sum over terms v of ( mean over documents d of w(d, v) )^2

    It affects most the terms that many documents have, and so makes postings lists more even.

    Return the loss, a scalar, of weights >= 0, float32 [documents, terms].

    share    float32 [terms], the number of terms of the vocabulary that each column represents; None: 1 each
    """
    by_term = torch.where(weights > 0, weights, 0.0).mean(dim=0).pow(2)
    return (by_term if share is None else by_term * share).sum()


def idf_queries(weights: Tensor, idf: Tensor) -> Tensor:
    """Return the query weights of the training score: idf [terms] where the query has the term, float32."""
    return torch.where(weights > 0, idf, 0.0)


def idf_flops(weights: Tensor, share: Tensor | None = None) -> Tensor:
    """IDF-aware FLOPS: FLOPS, with idf in the training score (Geng et al. 2024, arXiv:2411.04403).

    s(q, d) = sum over terms v of q of idf(v) * w(d, v)          L = FLOPS(w)

    The ranking loss's gradient to w(d, v) is then a multiple of idf(v): a term of low idf gains less than FLOPS costs
    it, and disappears; a rare one stays. With plain FLOPS the query's weights are those of its side (1 for a binary
    one).

    Return the loss, a scalar, of document weights >= 0, float32 [documents, terms]; `share` as in `flops`."""
    return flops(weights, share)


def thresholded_flops(weights: Tensor, threshold: int) -> Tensor:
    """FLOPS on the documents above a threshold of active terms; the others are not penalised.

    L = sum over terms v of ( mean over documents d of [active(d) > threshold] * w(d, v) )^2

    The l0 mask of Shen et al. 2025 (arXiv:2504.14839).

    Return the loss, a scalar, of weights >= 0, float32 [documents, terms]; the mean is over all documents."""
    above = (weights > 0).sum(dim=1, keepdim=True) > threshold
    return flops(torch.where(above, weights, 0.0))


def l1(weights: Tensor, share: Tensor | None = None) -> Tensor:
    """L1: the mean sum of a document's weights.

    L = mean over documents d of sum over terms v of w(d, v)

    Used on queries in efficient SPLADE (Lassance & Clinchant 2022, arXiv:2207.03834).

    Return the loss, a scalar, of weights >= 0, float32 [documents, terms].

    share    float32 [terms], the number of terms of the vocabulary that each column represents; None: 1 each
    """
    by_term = torch.where(weights > 0, weights, 0.0).mean(dim=0)
    return (by_term if share is None else by_term * share).sum()


def focus(weights: Tensor, window: int | None) -> Tensor:
    """Return `weights` [texts, terms] with all but the `window` largest of each text set to 0; None: all are kept.

    A text with no more active terms than that is unchanged. PROSPER's lexical focusing window (Song et al. 2025,
    arXiv:2510.18527): of the many terms that an untrained vocabulary head activates, only the largest get a gradient
    from the ranking loss.
    """
    if window is None or window >= weights.shape[1]:
        return weights
    kept = weights.topk(window, dim=1)
    return torch.zeros_like(weights).scatter(1, kept.indices, kept.values)


def infonce(scores: Tensor, positives: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """InfoNCE, the contrastive loss (van den Oord et al. 2018, arXiv:1807.03748).

    L = - mean over queries q of log( exp(s(q, d+) / T) / sum over d of exp(s(q, d) / T) )

    d are all documents of the batch: mined negatives and the documents of other queries.

    Return the loss, a scalar.

    scores [queries, documents]; positives int64 [queries], each query's column; mask bool [queries, documents], False
    for a document that is not a negative of the query (another copy of its positive).
    """
    return functional.cross_entropy((scores / temperature).masked_fill(~mask, float("-inf")), positives)


def kl_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler distillation: the student's distribution over a query's candidates follows the teacher's.

    L = mean over q of sum over candidates d of p_t(d) * (log p_t(d) - log p_s(d)),   p = softmax(scores / T)

    BM25's scores are tens apart, so at T = 1 both distributions are nearly one-hot and nothing is learned. Used in
    SPLADE-v3 (arXiv:2403.06789).

    Return the loss, a scalar. Both are scores, float32 [queries, candidates]."""
    own, wanted = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    return functional.kl_div(own, wanted, reduction="batchmean", log_target=True)


def margin_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """MarginMSE: the student's margins between positive and negative follow the teacher's.

    L = mean over q and its negatives d- of ( [s(q, d+) - s(q, d-)] - [t(q, d+) - t(q, d-)] )^2

    Hofstätter et al. 2020, arXiv:2010.02666.

    Return the loss, a scalar. Both are float32 [queries, 1 + negatives], the positive first."""
    return ((student[:, :1] - student[:, 1:]) - (teacher[:, :1] - teacher[:, 1:])).pow(2).mean()


def ensemble(scores: Sequence[NDArray[np.float32]], scale: float = SCALE) -> NDArray[np.float32]:
    """Heterogeneous ensemble distillation: teachers of different kinds, normalised, then averaged.

    t(q, d) = 30 * mean over teachers k of (t_k(q, d) - min_d t_k(q, d)) / (max_d t_k(q, d) - min_d t_k(q, d))

    Min and max are over the query's candidates. A teacher that scores all of them equally counts as 0. Source: Geng et
    al. 2024, arXiv:2411.04403.

    Return the combined scores, float32 [queries, candidates]; NaN, for a missing candidate, stays NaN.

    `scores` has one float32 [queries, candidates] per teacher.
    """
    if not scores:
        raise ValueError("an ensemble needs at least one teacher")
    total = np.zeros_like(scores[0], dtype=np.float64)
    for one in scores:
        lowest = np.nanmin(one, axis=1, keepdims=True)
        span = np.nanmax(one, axis=1, keepdims=True) - lowest
        total += (one - lowest) / np.where(span > 0, span, 1.0)
    return (scale * total / len(scores)).astype(np.float32)
