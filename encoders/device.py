"""Where a model runs and in which precision: `auto`, checked."""

from __future__ import annotations

import torch

from encoders.errors import DeviceUnavailable, SettingError

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
        raise SettingError(f"{device!r} names no device; give auto, cpu, cuda, cuda:0 or mps") from None
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (resolved.index or 0) >= available.get(resolved.type, 0):
        there = ["cpu", *(f"cuda:{i}" for i in range(available["cuda"])), *(["mps"] if available["mps"] else [])]
        raise DeviceUnavailable(f"there is no device {device!r} here; there is {', '.join(there)}")
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the dtype; auto is half precision where the hardware multiplies it natively, else float32."""
    if dtype != "auto":
        if dtype not in _DTYPES:
            raise SettingError(f"dtype must be auto, {', '.join(_DTYPES)}; got {dtype!r}")
        return _DTYPES[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_multiplies_bfloat16() else torch.float32


def cpu_multiplies_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16 products (AVX-512 BF16, AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
