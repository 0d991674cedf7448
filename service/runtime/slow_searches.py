"""The last searches that were slow, by collection: when, how long each step took, never what was asked."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Any, Final

from lsr.results import Timings

KEPT: Final = 200


class SlowSearches:
    """Keeps the last slow searches in memory. Safe to use from many threads."""

    def __init__(self) -> None:
        self._kept: deque[tuple[str, dict[str, Any]]] = deque(maxlen=KEPT)

    def add(self, collection: str, took_ms: float, timings: Timings, k: int, terms: int, request_id: str) -> None:
        """Keep one search; times are in milliseconds."""
        steps = {name: round(getattr(timings, name), 3) for name in ("encode", "search", "rescore", "fetch", "explain")}
        shown = {
            "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "took_ms": round(took_ms, 3),
            "timings": steps,
            "k": k,
            "terms": terms,
            "request_id": request_id,
        }
        self._kept.append((collection, shown))

    def of(self, collection: str) -> list[dict[str, Any]]:
        """Return the kept searches of a collection, the newest first."""
        return [shown for name, shown in reversed(tuple(self._kept)) if name == collection]
