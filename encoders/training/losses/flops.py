"""FLOPS: the expected number of products a query costs (Paria et al. 2020, arXiv:2004.05665).

    L = sum over terms v of ( mean over documents d of w(d, v) )^2

It falls on terms that many documents have, and so spreads the postings evenly. The gradient is that of the formula on
active weights alone: a term that a document does not have is not pushed further down.
"""

from __future__ import annotations

import torch
from torch import Tensor


def flops(weights: Tensor, share: Tensor | None = None) -> Tensor:
    """Return the loss, a scalar, of weights >= 0, float32 [documents, terms].

    share    float32 [terms], of how many terms of the vocabulary each column stands for; None: 1 each
    """
    by_term = torch.where(weights > 0, weights, 0.0).mean(dim=0).pow(2)
    return (by_term if share is None else by_term * share).sum()
