"""A linear layer for inference, whose weights are stored once in the order that oneDNN multiplies in.

`torch.nn.functional.linear` brings bfloat16 weights into that order at every call, which for the twenty tokens of a
query takes half of the time of the product, and computes the activation and the residual sum in passes of their own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.compute.device import cpu_multiplies_bfloat16, onednn_multiplies_float32

# Private names of torch, which may go; without them the layer computes as torch.nn.Linear does.
_PACKS = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
)
_ROWS = 256  # the number of rows that oneDNN chooses the order for; measured, it is as good for 1 and for 4,096


class PackedLinear:
    """x, float [rows, inputs] -> x W^T + b, in the dtype of W; on a CPU, without gradients."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Copies weight [outputs, inputs]; bias [outputs] has the same dtype."""
        self._bias = bias.contiguous()
        self._packed = _packs(weight.dtype)
        self._weight = (
            torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS) if self._packed else weight.contiguous()
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return the product."""
        if self._packed:
            return _product(x, self._weight, self._bias, "none", "")
        return F.linear(x, self._weight, self._bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Return gelu(product), the exact gelu (erf)."""
        if self._packed:
            return _product(x, self._weight, self._bias, "gelu", "none")
        return F.gelu(F.linear(x, self._weight, self._bias))

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return product + residual."""
        if self._packed:
            added: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._weight, self._bias, "add")
            return added
        return F.linear(x, self._weight, self._bias) + residual


def _product(x: Tensor, weight: Tensor, bias: Tensor, activation: str, algorithm: str) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], algorithm)
    return found


def _packs(dtype: torch.dtype) -> bool:
    """Return whether oneDNN is the faster one here for this precision."""
    if dtype == torch.bfloat16:
        return _PACKS and cpu_multiplies_bfloat16()
    return dtype == torch.float32 and _PACKS and onednn_multiplies_float32()
