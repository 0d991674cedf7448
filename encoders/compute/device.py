"""The device and precision of a model, and float32 products through oneDNN where that is faster.

torch multiplies float32 matrices with MKL, which uses AVX-512 on Intel's processors but not on AMD's: 60 GFLOP/s per
core, where oneDNN (part of torch, used for bfloat16) reaches 125 to 170. With AVX2, MKL is faster by some tenths
(docs/decisions/0207). While the mode is on, `torch.nn.functional.linear` uses oneDNN for every caller; the weights
stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from encoders.errors import DeviceUnavailable, SettingError
from encoders.settings import check_dtype

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str) -> torch.device:
    """Return the device; auto is the first GPU, or the CPU. Raises DeviceUnavailable, SettingError."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise SettingError(f"{device!r} is not a device; give auto, cpu, cuda, cuda:0 or mps") from None
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (resolved.index or 0) >= available.get(resolved.type, 0):
        known = ["cpu", *(f"cuda:{i}" for i in range(available["cuda"])), *(["mps"] if available["mps"] else [])]
        raise DeviceUnavailable(f"this machine has no device {device!r}; it has {', '.join(known)}")
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the dtype; auto is half precision where the hardware has instructions for it, else float32."""
    check_dtype(dtype)
    if dtype != "auto":
        return _DTYPES[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_multiplies_bfloat16() else torch.float32


def cpu_multiplies_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16 products (AVX-512 BF16, AMX) that torch may use."""
    capabilities = torch.cpu.get_capabilities()
    has_instructions = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return has_instructions and torch.backends.cpu.get_cpu_capability() == "AVX512"  # ATEN_CPU_CAPABILITY may lower it


# A private name of torch, which may go; without it MKL computes as before.
_HELPS = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
)
_FEWEST_ROWS = 256  # of one product: with fewer, reordering the weights for oneDNN costs more than it saves


def onednn_multiplies_float32() -> bool:
    """Return whether oneDNN multiplies float32 matrices faster than MKL on this processor."""
    return _HELPS


def float32_products(rows: int) -> AbstractContextManager[object]:
    """Return a context for a model that multiplies matrices of up to `rows` rows: the mode, where it helps.

    The mode adds some time to every call of torch, which would slow a single query down.
    """
    return ThroughOneDNN() if _HELPS and rows >= _FEWEST_ROWS else nullcontext()


class ThroughOneDNN(TorchFunctionMode):
    """A context in which oneDNN computes float32 linear layers without a gradient. It holds for one thread."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute `func`: a float32 linear layer with oneDNN, everything else as torch does."""
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
