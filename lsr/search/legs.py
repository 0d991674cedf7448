"""A leg: one query against one named vector, from its text to scored rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index import SearchParameters
from lsr.documents import SparseInput
from lsr.search.fusion import Floats, List
from lsr.search.query_vectors import QueryVector
from lsr.search.rows import Allowed, Rows, RowSpace, Scored
from lsr.vectors import NamedVector

ShouldStop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class EncodedLeg:
    """A leg whose query is encoded. `given` are the terms that the user gave; the others were added."""

    vector: NamedVector
    source: str | SparseInput | None  # None: built from documents
    query: QueryVector
    given: frozenset[int]
    weight: float
    limit: int
    added: frozenset[int] = frozenset()  # terms that feedback brought

    @property
    def using(self) -> str:
        """The named vector."""
        return self.vector.name


def first_stage(
    space: RowSpace, leg: EncodedLeg, parameters: SearchParameters, allowed: Allowed, should_stop: ShouldStop | None
) -> Scored:
    """Return the leg's best `limit` documents; raises VectorError, SearchParameterError, SearchStopped."""
    if not len(leg.query.term_ids):
        return Scored(np.empty(0, np.int64), np.empty(0, np.float32))
    return space.search(leg.using, leg.query, leg.limit, parameters, allowed, should_stop)


def union(found: Sequence[Scored]) -> Rows:
    """Return the rows that one of the lists holds, ascending."""
    rows = [one.rows for one in found if len(one.rows)]
    return np.unique(np.concatenate(rows)) if rows else np.empty(0, np.int64)


def complete(
    space: RowSpace, legs: Sequence[EncodedLeg | None], found: Sequence[Scored], rows: Rows
) -> list[List | None]:
    """Return each leg's list over all candidates: a score from its index for those that its list was too short for.

    None for scores from elsewhere.
    """
    lists: list[List | None] = []
    incomplete: list[tuple[EncodedLeg, Floats, NDArray[np.int64]]] = []
    for leg, one in zip(legs, found, strict=True):
        if leg is None:
            lists.append(None)
            continue
        scores = np.zeros(len(rows), dtype=np.float64)
        ranks: NDArray[np.int64] = np.zeros(len(rows), dtype=np.int64)
        at = np.searchsorted(rows, one.rows)
        scores[at] = one.scores
        ranks[at] = np.arange(1, len(one.rows) + 1)
        lists.append(List(scores, ranks))
        # A list that is not full holds every match.
        if len(one.rows) >= leg.limit or one.approximate:
            incomplete.append((leg, scores, np.flatnonzero(ranks == 0)))
    wanted = [(leg.using, leg.query, rows[missing]) for leg, _, missing in incomplete]
    for (_, scores, missing), more in zip(incomplete, space.scores(wanted), strict=True):
        scores[missing] = more
    return lists
