"""The loop: steps of accumulated batches, a schedule, checkpoints, a log, evaluation during training.

A run that was killed continues from its last checkpoint and ends with the same result as one that was not: batches and
dropout depend only on seed and step, and the checkpoint contains the rest. A loss that is not a finite number stops
the run before a parameter changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from encoders.checkpoints.saving import save_encoder
from encoders.learned import LearnedEncoder
from encoders.training.batch import BatchSource
from encoders.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from encoders.training.errors import TrainingDiverged
from encoders.training.objective import Objective
from encoders.training.schedules import quadratic_ramp, warm_up_then_linear
from encoders.training.settings import StepSettings
from encoders.training.trainable import TrainableEncoder

Record = Mapping[str, Any]
Evaluate = Callable[[LearnedEncoder], Mapping[str, float]]  # the first figure selects the best model


@dataclass
class Hooks:
    """Callbacks of a run; each is optional."""

    record: Callable[[Record], None] | None = None  # a line of the log
    resumed: Callable[[int], None] | None = None  # called once with the step of the checkpoint
    evaluate: Evaluate | None = None
    progress: Callable[[int, int], None] | None = None  # (steps done, steps in all)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run; `best` is the best first figure on the development set, if there was one."""

    steps: int
    best_step: int | None
    best: float | None
    first: Mapping[str, float] = field(default_factory=dict)  # the figures before the first step
    last: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """Trains `model` into `folder`: checkpoints/ for resuming, best/ the model with the best development figure."""

    def __init__(
        self,
        model: TrainableEncoder,
        source: BatchSource,
        objective: Objective,
        settings: StepSettings,
        folder: Path,
        *,
        identity: str,
        hooks: Hooks | None = None,
    ) -> None:
        """`identity` is a hash of everything that decides the run; a checkpoint with another one is refused."""
        self._model = model
        self._source = source
        self._objective = objective
        self._settings = settings
        self._folder = folder
        self._identity = identity
        self._hooks = hooks or Hooks()
        fast_ids = {id(p) for module in model.term_weights() for p in module.parameters()}
        fast_ids.add(id(model.log_scale))
        table_ids = {id(p) for p in model.tables()}
        trained = [p for p in model.parameters() if p.requires_grad]  # each once, even if both sides share it
        fast = [p for p in trained if id(p) in fast_ids]
        tables = [p for p in trained if id(p) in table_ids]
        slow = [p for p in trained if id(p) not in fast_ids | table_ids]
        groups: list[dict[str, Any]] = [
            {"params": slow, "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
            {"params": fast, "lr": settings.factor_learning_rate, "weight_decay": 0.0},
            {"params": tables, "lr": settings.table_learning_rate, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._memory: dict[str, Any] = {"first": {}, "last": {}, "best": None, "best_step": None}

    def run(self) -> Outcome:
        """Train to the end, from the latest checkpoint if there is one.

        Raises TrainingDiverged, CheckpointMismatch, TrainingError, OSError (the disk).
        """
        done = self._resume()
        if done == 0:
            self._evaluate(0)
        started = time.perf_counter()
        for step in range(done, self._settings.steps):
            figures = self._step(step)
            finished = step + 1
            last = finished == self._settings.steps
            if self._hooks.record and (last or finished % self._settings.log_every == 0):
                seconds = time.perf_counter() - started
                self._hooks.record({"step": finished, **figures, "seconds": round(seconds, 3)})
            if last or finished % self._settings.evaluate_every == 0:
                self._evaluate(finished)
            if last or finished % self._settings.checkpoint_every == 0:
                self._save(finished)
            if self._hooks.progress:
                self._hooks.progress(finished, self._settings.steps)
        return Outcome(
            steps=self._settings.steps,
            best_step=self._memory["best_step"],
            best=self._memory["best"],
            first=self._memory["first"],
            last=self._memory["last"],
        )

    def _step(self, step: int) -> dict[str, float]:
        settings = self._settings
        share = warm_up_then_linear(step, round(settings.warm_up * settings.steps), settings.steps)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        ramp = quadratic_ramp(step, round(self._objective.settings.ramp * settings.steps), 1.0)
        self._model.train()
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for part in range(settings.accumulation):
            torch.manual_seed((settings.seed * 1_000_003 + step) * 1_009 + part)  # dropout's
            loss, figures = self._objective(
                self._model, self._source.batch(step, part), ramp, settings.bf16, step / settings.steps
            )
            figures["loss"] = float(loss.detach())
            if not math.isfinite(figures["loss"]):
                self._diverged(step, f"loss {figures['loss']}", figures)
            torch.autograd.backward(loss / settings.accumulation)
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value / settings.accumulation
        norm = float(nn.utils.clip_grad_norm_(self._model.parameters(), settings.clip))
        if not math.isfinite(norm):
            self._diverged(step, f"gradient norm {norm}", sums)
        self._optimizer.step()
        return {
            **sums,
            "gradient_norm": norm,
            "learning_rate": settings.learning_rate * share,
            "document_lambda": self._objective.settings.document_lambda * ramp,
        }

    def _diverged(self, step: int, what: str, figures: Mapping[str, float]) -> None:
        kept = checkpoints(self._folder / "checkpoints")
        parts = ", ".join(f"{name} {value:g}" for name, value in figures.items() if name.startswith("loss_"))
        raise TrainingDiverged(
            f"step {step + 1}: {what} ({parts}). "
            + (f"The last good checkpoint is {kept[-1]}" if kept else "There is no checkpoint yet")
            + "; a lower learning rate, lambda or clip is the usual remedy"
        )

    def _evaluate(self, step: int) -> None:
        if self._hooks.evaluate is None:
            return
        self._model.eval()
        self._model.update_tables()
        with torch.no_grad():
            figures = dict(self._hooks.evaluate(self._model.encoder))
        if self._hooks.record:
            self._hooks.record({"step": step, "evaluation": figures})
        if not figures:
            return
        if step == 0:
            self._memory["first"] = figures
        self._memory["last"] = figures
        deciding = next(iter(figures.values()))
        if self._memory["best"] is None or deciding > self._memory["best"]:
            self._memory["best"], self._memory["best_step"] = deciding, step
            save_encoder(self._model.encoder, self._folder / "best")

    def _resume(self) -> int:
        found = checkpoints(self._folder / "checkpoints")
        if not found:
            return 0
        done, self._memory = load_checkpoint(found[-1], self._model, self._optimizer, self._identity)
        if self._hooks.resumed:
            self._hooks.resumed(done)
        return done

    def _save(self, step: int) -> None:
        save_checkpoint(self._folder / "checkpoints", self._model, self._optimizer, step, self._identity, self._memory)
