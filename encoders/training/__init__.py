"""Training: sides with gradients, starting points, losses, schedules, checkpoints, the loop.

    untrained             an encoder of a preset's method on a backbone
    untrained_sides       an encoder of any query side and any document side on a backbone
    literal_start         BM25 as the starting point of a literal residual path
    TrainableEncoder      both sides as one module
    losses                ranking losses and regularisers, each with its paper's formula
    trainer               gradient accumulation, bf16, checkpoints, resume
    dense_teacher         a bi-encoder whose scores are distilled

Importing this package loads nothing heavy (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from encoders.models_extra import require_models

if TYPE_CHECKING:
    from encoders.training.trainable import TrainableEncoder, untrained, untrained_sides

__all__ = ["TrainableEncoder", "untrained", "untrained_sides"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_models()
    return getattr(import_module("encoders.training.trainable"), name)
