"""L1: the mean sum of a document's weights (used on queries in efficient SPLADE, Lassance & Clinchant 2022,
arXiv:2207.03834).

    L = mean over documents d of sum over terms v of w(d, v)
"""

from __future__ import annotations

import torch
from torch import Tensor


def l1(weights: Tensor, share: Tensor | None = None) -> Tensor:
    """Return the loss, a scalar, of weights >= 0, float32 [documents, terms].

    share    float32 [terms], of how many terms of the vocabulary each column stands for; None: 1 each
    """
    by_term = torch.where(weights > 0, weights, 0.0).mean(dim=0)
    return (by_term if share is None else by_term * share).sum()
