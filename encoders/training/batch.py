"""What one step is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Queries with their candidates, each candidate's text once.

    groups     int64 [queries, 1 + negatives]: positions in `documents`, a query's positive first
    teacher    float32 [queries, 1 + negatives], the candidates' scores; None without a teacher
    excluded   bool [queries, documents]: True for a document that must not count as a negative of the query
    """

    queries: list[str]
    documents: list[str]
    groups: NDArray[np.int64]
    teacher: NDArray[np.float32] | None
    excluded: NDArray[np.bool_]


class BatchSource(Protocol):
    """Where batches come from. A pure function of its arguments, which is what makes a resumed run the same run."""

    def batch(self, step: int, part: int) -> Batch:
        """Return the batch of that step (from 0) and that part of it (from 0, below the accumulation)."""
        ...
