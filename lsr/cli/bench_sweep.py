"""The sweep behind `lsr bench`: each setting over all queries, recall and times.

One thread, one query after the other. The first pass over the queries warms up and gives the hits; then each timed
pass adds a sample for each query, and mean, p50 and p99 are over all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Final, Protocol

import numpy as np

from lsr.cli.progress import Progress

QUERY_CUTS: Final = (4, 6, 8, 10, 14, 20)
HEAP_FACTORS: Final = (0.6, 0.7, 0.8, 0.9, 1.0)

Settings = Mapping[str, Any]


class Target(Protocol):
    """Something that can be searched with numbered queries, and knows what it should have found."""

    @property
    def name(self) -> str:
        """What is measured."""
        ...

    @property
    def description(self) -> Mapping[str, Any]:
        """Documents, queries, bytes, build seconds, what recall is against."""
        ...

    @property
    def query_count(self) -> int:
        """Queries are numbered from 0."""
        ...

    @property
    def extra_settings(self) -> Sequence[Settings]:
        """Settings to measure beside the grid, such as the default and the exact search."""
        ...

    def searcher(self, query: int, k: int, settings: Settings) -> Callable[[], Sequence[object]]:
        """Return a call that searches and hands back ids; what is prepared here is not timed."""
        ...

    def relevant(self, query: int, k: int) -> frozenset[object]:
        """Return the ids of the true top k, all ties at the k-th place included."""
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
    """All points of one target."""

    name: str
    k: int
    description: Mapping[str, Any]
    points: tuple[Point, ...]

    def front(self) -> list[Point]:
        """Return the points that no other point beats in recall and mean time, by rising time."""
        best: list[Point] = []
        for point in sorted(self.points, key=lambda point: (point.mean_us, -point.recall)):
            if not best or point.recall > best[-1].recall:
                best.append(point)
        return best

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        points = [asdict(point) for point in self.points]
        return {"target": self.name, "k": self.k, **self.description, "points": points}


def sweep(target: Target, k: int, repeat: int, progress: Progress | None = None) -> Curve:
    """Measure `target` at every setting."""
    grid = [{"query_cut": cut, "heap_factor": factor} for cut in QUERY_CUTS for factor in HEAP_FACTORS]
    settings = [*target.extra_settings, *grid]
    relevant = [target.relevant(query, k) for query in range(target.query_count)]
    points = []
    for done, setting in enumerate(settings, start=1):
        points.append(_measure(target, k, repeat, setting, relevant))
        if progress is not None:
            progress(f"measuring {target.name}", done, len(settings))
    return Curve(target.name, k, target.description, tuple(points))


def _measure(target: Target, k: int, repeat: int, settings: Settings, relevant: Sequence[frozenset[object]]) -> Point:
    searches = [target.searcher(query, k, settings) for query in range(target.query_count)]
    recalls = []
    for search, expected in zip(searches, relevant, strict=True):
        found = search()
        if expected:
            recalls.append(len(expected.intersection(found)) / min(k, len(expected)))
    times = np.empty((repeat, len(searches)))
    for row in times:
        for at, search in enumerate(searches):
            started = perf_counter()
            search()
            row[at] = perf_counter() - started
    times *= 1e6
    p50, p99 = np.percentile(times, [50, 99])
    recall = float(np.mean(recalls)) if recalls else 1.0
    return Point(settings, recall, float(times.mean()), float(p50), float(p99))
