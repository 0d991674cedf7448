"""L1: the mean sum of a document's weights (used on queries in efficient SPLADE, Lassance & Clinchant 2022,
arXiv:2207.03834).

    L = mean over documents d of sum over terms v of w(d, v)
"""

from __future__ import annotations

import torch
from torch import Tensor


def l1(weights: Tensor) -> Tensor:
    """Return the loss, a scalar, of weights >= 0, float32 [documents, terms]."""
    return torch.where(weights > 0, weights, 0.0).sum(dim=1).mean()
