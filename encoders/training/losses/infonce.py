"""InfoNCE, the contrastive loss (van den Oord et al. 2018, arXiv:1807.03748).

    L = - mean over queries q of log( exp(s(q, d+) / T) / sum over d of exp(s(q, d) / T) )

d runs over all documents of the batch, mined negatives and other queries' documents alike.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def infonce(scores: Tensor, positives: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Return the loss, a scalar.

    scores [queries, documents]; positives int64 [queries], each query's column; mask bool [queries, documents], False
    for a document that is no negative of the query (another copy of its positive).
    """
    return functional.cross_entropy((scores / temperature).masked_fill(~mask, float("-inf")), positives)
