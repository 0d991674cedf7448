"""Weights in a `.bin` file: a pickle of tensors, of which torch reads tensors alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from encoders.errors import CheckpointError


def load_bin(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.bin` file; raise CheckpointError if it holds anything else."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises pickle's, zipfile's and its own errors here
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(f"{file} cannot be read as tensors alone: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{file} holds no dictionary of tensors")
    return content
