"""How a model is trained: the part of a run's configuration that is not data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Regulariser(StrEnum):
    """The loss that keeps the vectors of a side sparse."""

    NONE = "none"
    FLOPS = "flops"
    L1 = "l1"
    IDF_FLOPS = "idf-flops"
    THRESHOLDED_FLOPS = "thresholded-flops"


@dataclass(frozen=True)
class LossSettings:
    """Weights of the ranking losses (0: not used) and of the regularisers."""

    infonce: float = field(default=0.0, metadata={"minimum": 0.0})
    margin_mse: float = field(default=0.0, metadata={"minimum": 0.0})
    kl: float = field(default=0.0, metadata={"minimum": 0.0})
    temperature: float = field(default=1.0, metadata={"above": 0.0})  # of InfoNCE and KL
    regulariser: Regulariser = Regulariser.FLOPS
    document_lambda: float = field(
        default=0.0, metadata={"minimum": 0.0}
    )  # for this regulariser; another one needs another value
    query_regulariser: Regulariser = Regulariser.L1  # of a learned query side; any but idf-flops
    query_lambda: float = field(default=0.0, metadata={"minimum": 0.0})
    # How many of a vector's largest weights count in scores: one number, or one for each equal part of the steps,
    # such as (512, 256, 128). Regularisers see all weights. Empty: all count.
    document_top_k: tuple[int, ...] = field(default=(), metadata={"minimum": 1})
    query_top_k: tuple[int, ...] = field(default=(), metadata={"minimum": 1})
    ramp: float = field(default=1 / 3, metadata={"minimum": 0.0, "maximum": 1.0})  # share of the steps
    threshold: int = field(default=150, metadata={"minimum": 0})  # active terms, of thresholded FLOPS

    @property
    def needs_teacher(self) -> bool:
        """Whether a loss needs a teacher's scores."""
        return self.kl > 0 or self.margin_mse > 0


@dataclass(frozen=True)
class StepSettings:
    """Number and size of the steps, and how often they are logged, saved and evaluated."""

    steps: int = field(default=1000, metadata={"minimum": 1})
    batch_size: int = field(default=16, metadata={"minimum": 1})  # queries per batch
    accumulation: int = field(
        default=1, metadata={"minimum": 1}
    )  # batches per step; each has its own in-batch negatives
    learning_rate: float = field(default=2e-5, metadata={"above": 0.0})
    factor_learning_rate: float = field(default=1e-3, metadata={"above": 0.0})  # of term weights, of a pooled head
    table_learning_rate: float = field(default=1e-3, metadata={"above": 0.0})  # of a trained query table
    warm_up: float = field(default=0.05, metadata={"minimum": 0.0, "maximum": 1.0})  # share of the steps
    weight_decay: float = field(default=0.0, metadata={"minimum": 0.0})
    clip: float = field(default=1.0, metadata={"above": 0.0})  # largest norm of the gradient
    bf16: bool = False  # bfloat16 autocast of the body; heads, scores and losses stay float32
    seed: int = field(default=13, metadata={"minimum": 0})
    log_every: int = field(default=10, metadata={"minimum": 1})
    checkpoint_every: int = field(default=500, metadata={"minimum": 1})
    evaluate_every: int = field(default=500, metadata={"minimum": 1})
