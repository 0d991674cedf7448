"""The best setting for some queries: coordinate descent over the grid, from several starts.

The present setting stays unless another is better by MIN_GAIN; so do the numbers of a setting on the way. That keeps
tuning from moving on differences that mean nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.tuning.setting import Lists, Setting, along, coordinates, starts
from eval.tuning.values import Values

MIN_GAIN: Final = 0.0005
_SWEEPS: Final = 10


def best_setting(values: Values, present: Setting, lists: Lists, depth: int, queries: NDArray[np.int64]) -> Setting:
    """Return the setting with the highest mean over these queries (their positions), or the present one."""
    best = present
    for start in starts(present, lists):
        found = _pruned(values, _descended(values, start, lists, depth, queries), lists, queries)
        if _mean(values, found, queries) > _mean(values, best, queries) + MIN_GAIN:
            best = found
    return best


def _descended(values: Values, start: Setting, lists: Lists, depth: int, queries: NDArray[np.int64]) -> Setting:
    best = start
    for _ in range(_SWEEPS):
        before = best
        for coordinate in coordinates(lists):
            for setting in along(coordinate, best, lists, depth):
                if _mean(values, setting, queries) > _mean(values, best, queries) + MIN_GAIN:
                    best = setting
        if best == before:
            break
    return best


def _pruned(values: Values, setting: Setting, lists: Lists, queries: NDArray[np.int64]) -> Setting:
    """Return the setting without the lists, and the rescoring, whose removal costs less than MIN_GAIN."""
    best = setting
    for coordinate in coordinates(lists)[: len(lists.using) + 1]:
        for without in along(coordinate, best, lists, depth=0)[:1]:
            # The first number of a weight is 0, if a list is left without it.
            lighter = without.cost < best.cost
            if lighter and _mean(values, without, queries) > _mean(values, setting, queries) - MIN_GAIN:
                best = without
    return best


def _mean(values: Values, setting: Setting, queries: NDArray[np.int64]) -> float:
    return float(values.of(setting)[queries].mean())
