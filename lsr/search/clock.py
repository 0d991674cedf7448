"""The time that a search has, and what its stages took."""

from __future__ import annotations

import time
from collections.abc import Callable

from index.errors import SearchStopped
from lsr.errors import QueryError


class Clock:
    """The time that a search has, and what its stages took."""

    def __init__(self, timeout_ms: float | None, on_late: str) -> None:
        self.should_stop = deadline(timeout_ms)
        self.skips = on_late == "skip"
        self.skipped: list[str] = []
        self.took: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Note that the time since the last call went into `stage`."""
        now = time.perf_counter()
        self.took[stage] = self.took.get(stage, 0.0) + (now - self._last) * 1e3
        self._last = now

    def late(self, stage: str) -> bool:
        """Whether `stage` must be skipped: the time is over and the request allows it. Raises SearchStopped."""
        if self.should_stop is None or not self.should_stop():
            return False
        if not self.skips:
            raise SearchStopped(f"the search was stopped before it was done: {stage} was due")
        self.skipped.append(stage)
        return True


def deadline(timeout_ms: float | None) -> Callable[[], bool] | None:
    """Return a function that says whether `timeout_ms` milliseconds have passed since now; None without a limit."""
    if timeout_ms is None:
        return None
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, (int, float)) or not 0 < timeout_ms < 1e12:
        raise QueryError(f"timeout_ms must be a number above 0, not {timeout_ms!r}", field="timeout_ms")
    end = time.monotonic() + timeout_ms / 1e3
    return lambda: time.monotonic() > end
