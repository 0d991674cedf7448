"""IDF-aware FLOPS (Geng et al. 2024, arXiv:2411.04403): FLOPS, with idf in the training score.

    s(q, d) = sum over terms v of q of idf(v) * w(d, v)          L = FLOPS(w)

The ranking loss's gradient to w(d, v) is then a multiple of idf(v): a term of low idf earns little for what FLOPS
takes from it, and goes; a rare one earns its place. With plain FLOPS the query's weights are what its side says (1
for a binary one).
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.training.losses.flops import flops


def idf_queries(weights: Tensor, idf: Tensor) -> Tensor:
    """Return the query weights of the training score: idf [terms] where the query has the term, float32."""
    return torch.where(weights > 0, idf, 0.0)


def idf_flops(weights: Tensor, share: Tensor | None = None) -> Tensor:
    """Return the loss, a scalar, of document weights >= 0, float32 [documents, terms]; `share` as in `flops`."""
    return flops(weights, share)
