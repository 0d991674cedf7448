"""How the regulariser's weight, the learning rate and the windows of the scores change over the steps."""

from __future__ import annotations

from collections.abc import Sequence


def quadratic_ramp(step: int, ramp_steps: int, final: float) -> float:
    """Return lambda at `step` (from 0): final * (step / ramp_steps)^2, and `final` from ramp_steps on.

    As in SPLADE (Formal et al. 2021): a model that is penalised for density before it can rank becomes empty.
    """
    if step >= ramp_steps:
        return final
    return float(final * (step / ramp_steps) ** 2)


def warm_up_then_linear(step: int, warm_up_steps: int, steps: int) -> float:
    """Return the share of the learning rate at `step` (from 0): up to 1 in the warm-up, then down to 0."""
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    return max((steps - step) / max(steps - warm_up_steps, 1), 0.0)


def window_at(windows: Sequence[int], progress: float) -> int | None:
    """Return the window at `progress` in [0, 1) of the steps, each of `windows` for an equal part; None without one."""
    return windows[min(int(progress * len(windows)), len(windows) - 1)] if windows else None
