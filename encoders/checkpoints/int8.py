"""Weights with one byte per number: how a model small enough for a repository is stored.

    int8.safetensors    each matrix `name` as `name` int8 [rows, columns] and `name.scale` float32 [rows];
                        everything else in float32

    stored = round(w / scale),  scale = max |w| of the row / 127;       read back as stored * scale in float32

The weights that are read back are the model, and are used like any other; reading is exact, so that the same file
gives the same weights everywhere. The file replaces the model's own weights next to config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoders.errors import CheckpointError

FILE = "int8.safetensors"
_SCALE = ".scale"


def save_int8(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write float tensors; matrices lose precision, other tensors are kept."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        values = tensor.detach().float().cpu()
        if values.ndim == 2:
            scale = values.abs().amax(dim=1).clamp_min(1e-12) / 127.0
            stored[name] = torch.round(values / scale[:, None]).to(torch.int8)
            stored[name + _SCALE] = scale
        else:
            stored[name] = values.contiguous()
    save_file(stored, file)


def load_int8(file: Path) -> dict[str, Tensor]:
    """Return the tensors, float32; raise CheckpointError for a file that is damaged or of another kind."""
    try:
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
    tensors: dict[str, Tensor] = {}
    for name, values in stored.items():
        if name.endswith(_SCALE) and name.removesuffix(_SCALE) in stored:
            continue
        if values.dtype is torch.int8:
            scale = stored.get(name + _SCALE)
            if scale is None or scale.shape != values.shape[:1]:
                raise CheckpointError(f"{file}: the int8 matrix {name} has no scales of its rows")
            tensors[name] = values.float() * scale[:, None]
        else:
            tensors[name] = values.float()
    return tensors
