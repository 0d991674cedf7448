"""Float32 matrix products on a CPU through oneDNN, for inference, where that is the faster way.

torch multiplies float32 matrices with MKL, which uses AVX-512 on Intel's processors and not on AMD's: 60 GFLOP/s a core
where oneDNN, which torch brings too and uses for bfloat16, does 125 to 170. With AVX2 it is MKL that is ahead, by some
tenths (docs/decisions/0207). While the mode is on, `torch.nn.functional.linear` goes to oneDNN, whoever calls it;
weights stay where and as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# The name is torch's own and not promised to stay; where it is gone, MKL computes as before.
_HELPS = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
)
_FEWEST_ROWS = 256  # of one product: below, oneDNN's own ordering of the weights costs more than it gains


def float32_products(rows: int) -> AbstractContextManager[object]:
    """Return a context for a model that multiplies matrices of up to `rows` rows: the mode, where it helps.

    The mode stands between the model and each of its calls, which a single query would notice.
    """
    return ThroughOneDNN() if _HELPS and rows >= _FEWEST_ROWS else nullcontext()


class ThroughOneDNN(TorchFunctionMode):
    """A context in which float32 linear layers without a gradient are computed by oneDNN. A thread's own."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute `func`, a linear layer of float32 by oneDNN."""
        if func is F.linear and not kwargs and _is_fit(args[0]):
            rows, weight, bias = args[0], args[1], args[2] if len(args) > 2 else None
            return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def _is_fit(rows: Tensor) -> bool:
    return (
        rows.device.type == "cpu"
        and rows.dtype == torch.float32
        and rows.numel() >= _FEWEST_ROWS * rows.shape[-1]
        and not torch.is_grad_enabled()
    )
