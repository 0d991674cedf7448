"""The sweep of `lsr bench`: recall and times of each setting over all queries.

One thread, one query after the other. A first pass over the queries at every setting gives the recall and a first time.
Then only the settings that no other setting clearly beats in both are timed: in rounds, each setting once per round, so
that a disturbance of the machine does not affect only one of them. A query's time is the minimum of its rounds, because
other work on the machine can only add time. Mean, p50 and p99 are over the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Settings = Mapping[str, Any]
Search = Callable[[], Sequence[object]]
Progress = Callable[[str, int, int | None], None]  # (phase, done, total)

_CLEARLY = 1.25  # a setting this many times slower than one with better recall is not timed
_SLOW = 0.005  # mean seconds; slower settings keep the time of the first pass: disturbances are far shorter


class Target(Protocol):
    """Something that can be searched with numbered queries, and that knows the true results."""

    @property
    def name(self) -> str:
        """The target's name."""
        ...

    @property
    def description(self) -> Mapping[str, Any]:
        """Documents, queries, bytes, build seconds, the reference for recall."""
        ...

    @property
    def query_count(self) -> int:
        """The number of queries, which are numbered from 0."""
        ...

    def settings(self, k: int) -> Sequence[Settings]:
        """Return the settings to measure at this k, including the default and exact search."""
        ...

    def searcher(self, query: int, k: int, settings: Settings) -> Search:
        """Return a function that searches and returns ids; the preparation here is not timed."""
        ...

    def relevant(self, query: int, k: int) -> frozenset[object]:
        """Return the ids of the true top k, including all ties at rank k."""
        ...


@dataclass(frozen=True)
class Point:
    """One setting: recall@k as a mean over the queries, times in microseconds."""

    settings: Settings
    recall: float
    mean_us: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Curve:
    """The timed points of one target."""

    name: str
    k: int
    description: Mapping[str, Any]
    points: tuple[Point, ...]

    def front(self) -> list[Point]:
        """Return the points that no other point beats in recall and mean time, by ascending time."""
        best: list[Point] = []
        for point in sorted(self.points, key=lambda point: (point.mean_us, -point.recall)):
            if not best or point.recall > best[-1].recall:
                best.append(point)
        return best

    def fastest(self, recall: float) -> Point | None:
        """Return the fastest point with at least this recall."""
        return next((point for point in self.front() if point.recall >= recall), None)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        points = [asdict(point) for point in self.points]
        return {"target": self.name, "k": self.k, **self.description, "points": points}


def sweep(target: Target, k: int, repeat: int, progress: Progress | None = None) -> Curve:
    """Measure `target` at all its settings; time the settings near the front `repeat` times."""
    settings = target.settings(k)
    relevant = [target.relevant(query, k) for query in range(target.query_count)]
    recalls, firsts, rough = [], [], []
    for done, setting in enumerate(settings, start=1):
        found, seconds = _first_pass(target, k, setting, relevant)
        recalls.append(found)
        firsts.append(seconds)
        rough.append(float(seconds.mean()) if len(seconds) else 0.0)
        if progress is not None:
            progress(f"{target.name}, recall", done, len(settings))
    kept = [
        at
        for at in range(len(settings))
        if _always_timed(settings[at])
        or not any(recalls[i] >= recalls[at] and rough[i] * _CLEARLY < rough[at] for i in range(len(settings)))
    ]
    least = np.array([firsts[at] for at in kept])
    for turn in range(repeat):
        for row, at in enumerate(kept):
            if rough[at] < _SLOW:
                np.minimum(least[row], _times(target, k, settings[at]), out=least[row])
        if progress is not None:
            progress(f"{target.name}, times", turn + 1, repeat)
    points = [_point(settings[at], recalls[at], least[row]) for row, at in enumerate(kept)]
    return Curve(target.name, k, target.description, tuple(points))


def _always_timed(settings: Settings) -> bool:
    """Whether the setting is always shown: the default, exact search, recall targets."""
    return not settings or "exact" in settings or "recall" in settings


def _first_pass(
    target: Target, k: int, settings: Settings, relevant: Sequence[frozenset[object]]
) -> tuple[float, NDArray[np.float64]]:
    """Return (mean recall, each query's seconds)."""
    recalls = []
    seconds = np.empty(len(relevant))
    for query, expected in enumerate(relevant):
        search = target.searcher(query, k, settings)
        started = perf_counter()
        found = search()
        seconds[query] = perf_counter() - started
        if expected:
            recalls.append(min(1.0, len(expected.intersection(found)) / min(k, len(expected))))
    return float(np.mean(recalls)) if recalls else 1.0, seconds


def _times(target: Target, k: int, settings: Settings) -> NDArray[np.float64]:
    """Return each query's seconds."""
    times = np.empty(target.query_count)
    for query in range(target.query_count):
        search = target.searcher(query, k, settings)
        started = perf_counter()
        search()
        times[query] = perf_counter() - started
    return times


def _point(settings: Settings, recall: float, seconds: NDArray[np.float64]) -> Point:
    micro = seconds * 1e6
    p50, p99 = np.percentile(micro, [50, 99])
    return Point(settings, recall, float(micro.mean()), float(p50), float(p99))
