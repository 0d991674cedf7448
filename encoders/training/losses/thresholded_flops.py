"""FLOPS on documents above a threshold of active terms: a document that is sparse enough is left alone.

    L = sum over terms v of ( mean over documents d of [active(d) > threshold] * w(d, v) )^2

The l0 mask of Shen et al. 2025 (arXiv:2504.14839).
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.training.losses.flops import flops


def thresholded_flops(weights: Tensor, threshold: int) -> Tensor:
    """Return the loss, a scalar, of weights >= 0, float32 [documents, terms]; the mean is over all documents."""
    above = (weights > 0).sum(dim=1, keepdim=True) > threshold
    return flops(torch.where(above, weights, 0.0))
