"""Weights in a `.bin` file: a pickle, from which torch reads only tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from encoders.errors import CheckpointError


def load_bin(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.bin` file; raise CheckpointError if it contains anything else."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises errors of pickle, of zipfile and its own here
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(f"{file} cannot be read as tensors only: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{file} does not contain a dictionary of tensors")
    return content
