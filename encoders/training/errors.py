"""The errors of training.

EncoderError
└── TrainingError            the root of these
    ├── TrainingDiverged     the loss is not a finite number; the last good checkpoint is kept
    └── CheckpointMismatch   a checkpoint of another run: other data, model or settings
"""

from __future__ import annotations

from encoders.errors import EncoderError


class TrainingError(EncoderError):
    """Root of training's errors."""


class TrainingDiverged(TrainingError):
    """The loss, or its gradient, is not a finite number; the message names the step and the last good checkpoint."""


class CheckpointMismatch(TrainingError):
    """A checkpoint that does not belong to this run."""
