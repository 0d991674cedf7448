"""The batch of one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Queries with their candidates; each candidate text once.

    groups     int64 [queries, 1 + negatives]: positions in `documents`, a query's positive first
    teacher    float32 [queries, 1 + negatives], the candidates' scores; None without a teacher
    excluded   bool [queries, documents]: True for a document that is not a negative of the query
    """

    queries: list[str]
    documents: list[str]
    groups: NDArray[np.int64]
    teacher: NDArray[np.float32] | None
    excluded: NDArray[np.bool_]


class BatchSource(Protocol):
    """The source of batches: a pure function of its arguments, so that a resumed run is the same run."""

    def batch(self, step: int, part: int) -> Batch:
        """Return the batch of that step (from 0) and that part of it (from 0, below the accumulation)."""
        ...
