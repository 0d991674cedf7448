"""The learned part of a pooled side on disk: pooled_head.safetensors, or pooled_head.int8.safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from encoders.checkpoints.int8 import load_int8
from encoders.checkpoints.lsr_layout import POOLED_HEAD, POOLED_HEAD_INT8
from encoders.errors import CheckpointError
from encoders.sides.pooled import PooledHead


def save_pooled_head(head: PooledHead, folder: Path) -> None:
    """Write the head's tensors in float32."""
    save_file({name: tensor.detach().float().cpu() for name, tensor in head.state_dict().items()}, folder / POOLED_HEAD)


def read_pooled_head(folder: Path, size: int) -> PooledHead:
    """Return the head for pooled vectors of `size` numbers; raise CheckpointError naming what is missing or wrong."""
    file = folder / POOLED_HEAD_INT8 if (folder / POOLED_HEAD_INT8).is_file() else folder / POOLED_HEAD
    if not file.is_file():
        raise CheckpointError(f"{folder}: a pooled side needs {POOLED_HEAD} or {POOLED_HEAD_INT8}, and has neither")
    try:
        tensors = load_int8(file) if file.name == POOLED_HEAD_INT8 else load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
    if "factor" not in tensors or tensors["factor"].ndim != 1:
        raise CheckpointError(f"{file}: the tensor factor is missing or has a wrong shape")
    head = PooledHead(size, len(tensors["factor"]))
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file}: {reason}") from None
    return head
