"""The documents of one generation as one range of numbers: what the stages of a search pass to each other.

A generation has homes: its segments, and its chunks of pending documents. Row `starts[i] + p` is position p of home i.
A stage takes and returns arrays of rows with scores; ids, vectors and metadata are read only for the rows that need
them. Deleted documents have rows too, and are masked wherever documents are chosen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index import SearchParameters
from index.errors import SearchStopped
from lsr.results import Damage
from lsr.search.query_vectors import QueryVector
from lsr.storage.generation import FoundDocument, Generation, Place, RowFilter, SegmentView
from lsr.storage.pending import PendingChunk

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]
Home = SegmentView | PendingChunk
ShouldStop = Callable[[], bool]
Order = Literal["asc", "desc"]


class Scored(NamedTuple):
    """Rows int64[n] with scores float32[n], by descending score, then ascending id; whether candidates were drawn.

    expected_recall   the share of the true best that these are expected to hold; None: not measured
    """

    rows: Rows
    scores: Scores
    approximate: bool = False
    expected_recall: float | None = 1.0


def lowest_recall(recalls: Iterable[float | None]) -> float | None:
    """Return the lowest of the expected recalls, 1 without any; None if one of them was not measured."""
    known = list(recalls)
    measured = [recall for recall in known if recall is not None]
    return min(measured, default=1.0) if len(measured) == len(known) else None


class ValueCounts(NamedTuple):
    """The values of a metadata column, distinct, with their counts int64; `missing` documents have no value."""

    values: pa.Array[Any]
    counts: NDArray[np.int64]
    missing: int

    @classmethod
    def of(cls, column: pa.ChunkedArray[Any]) -> ValueCounts:
        """Count the values of a column; each item of a list counts."""
        items: Any = pc.list_flatten(column) if pa.types.is_large_list(column.type) else column
        counted: Any = pc.value_counts(pc.drop_null(items))
        return cls(counted.field("values"), counted.field("counts").to_numpy(), column.null_count)

    @classmethod
    def sum(cls, counted: Sequence[ValueCounts]) -> ValueCounts:
        """Return the counts over several disjoint sets of documents; at least one is needed."""
        values: Any = pa.concat_arrays([one.values for one in counted])
        encoded: Any = pc.dictionary_encode(values)
        numbers = encoded.indices.to_numpy()
        weights = np.concatenate([one.counts for one in counted])
        counts = np.zeros(len(encoded.dictionary), dtype=np.int64)
        np.add.at(counts, numbers, weights)
        return cls(encoded.dictionary, counts, sum(one.missing for one in counted))


class RowSpace:
    """The rows of a generation. Immutable."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.homes: tuple[Home, ...] = (*generation.segments, *generation.pending.chunks)
        lengths = [len(_live(home)) if isinstance(home, PendingChunk) else len(home.segment) for home in self.homes]
        self.starts = list(accumulate(lengths, initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What is out of reach of a search."""
        return self.generation.damage

    def split(self, rows: Rows) -> Iterator[tuple[int, Home, NDArray[np.int64], Rows]]:
        """Yield, for each home that has some of the rows: its number, itself, positions in `rows`, positions in it."""
        if len(self.homes) == 1:
            if len(rows):
                yield 0, self.homes[0], np.arange(len(rows)), rows
            return
        owner = np.searchsorted(self.starts[1:], rows, side="right")
        for at, home in enumerate(self.homes):
            chosen = np.flatnonzero(owner == at)
            if len(chosen):
                yield at, home, chosen, rows[chosen] - self.starts[at]

    def place(self, row: int) -> Place:
        """Return where the document of a row is."""
        at = bisect_right(self.starts, row, 0, len(self.homes)) - 1
        return Place(self.homes[at], row - self.starts[at])

    def places(  # what has to be fetched from elsewhere needs all arguments
        self,
        rows: Rows,
        sparse: Sequence[str] = (),  # noqa: ARG002
        dense: Sequence[str] = (),  # noqa: ARG002
    ) -> Sequence[FoundDocument]:
        """Return the documents of rows. `sparse` and `dense` name the vectors that will be read of them."""
        return [self.place(row) for row in rows.tolist()]

    def row_of(self, place: Place) -> int:
        """Return the row of a place of this generation."""
        return self.starts[self.homes.index(place.home)] + place.position

    def ids(self, rows: Rows) -> list[str]:
        """Return the external ids of rows."""
        found = [""] * len(rows)
        for _, home, chosen, positions in self.split(rows):
            for at, identifier in zip(chosen.tolist(), _ids(home, positions), strict=True):
                found[at] = identifier
        return found

    def find(self, ids: Sequence[str]) -> Rows:
        """Return the rows of live documents, int64[len(ids)], -1 for an unknown one; raises CollectionCorrupt."""
        places = [self.generation.find(identifier) for identifier in ids]
        return np.array([-1 if place is None else self.row_of(place) for place in places], dtype=np.int64)

    def columns(self, rows: Rows, names: Sequence[str]) -> pa.Table:
        """Return metadata columns (`metadata.<name>`, `parent`, `id`) of rows, in the order of `rows`."""
        parts, order = [], []
        for _, home, chosen, positions in self.split(rows):
            parts.append(_table(home).select(list(names)).take(positions))
            order.append(chosen)
        if not parts:
            return pa.Table.from_pylist([]) if not self.homes else _table(self.homes[0]).select(list(names)).slice(0, 0)
        back = np.empty(len(rows), dtype=np.int64)
        back[np.concatenate(order)] = np.arange(len(rows))
        return pa.concat_tables(parts).take(back)

    def value_counts(self, chosen: Rows | Allowed, names: Sequence[str]) -> dict[str, ValueCounts]:
        """Return how often each value of metadata columns (`metadata.<name>`) occurs, by column."""
        columns = self.columns(chosen.rows(self) if isinstance(chosen, Allowed) else chosen, names)
        return {name: ValueCounts.of(columns.column(name)) for name in names}

    def first_by(
        self,
        allowed: Allowed,
        column: str,  # noqa: ARG002
        order: Order,  # noqa: ARG002
        most: int,  # noqa: ARG002
    ) -> Rows:
        """Return allowed rows that hold the first `most` in the order of a metadata column, perhaps with more."""
        return allowed.rows(self)

    def prepare(
        self,
        wanted: Sequence[tuple[str, QueryVector, int]],
        parameters: SearchParameters,
        allowed: Allowed,
        should_stop: ShouldStop | None = None,
    ) -> None:
        """Say which searches (name, query, k) will follow, so that they can run side by side."""

    def dense_scores(self, name: str, rows: Rows, query: NDArray[np.float32]) -> tuple[Scores, Mask]:
        """Return the canonical dense scores of rows, and which of them have the dense vector."""
        return self.generation.dense_scores(name, [self.place(row) for row in rows.tolist()], query)

    def everything(self) -> Allowed:
        """Return the mask of all live documents."""
        return Allowed(
            [None if isinstance(home, SegmentView) and home.live is None else _live(home) for home in self.homes]
        )

    def chosen(self, row_filter: RowFilter | None) -> Allowed:
        """Return the mask of the live documents that match a filter."""
        if row_filter is None:
            return self.everything()
        return Allowed([_live(home) & row_filter.mask(_table(home)) for home in self.homes])

    def only(self, rows: Rows) -> Allowed:
        """Return the mask of these rows."""
        masks: list[Mask | None] = [np.zeros(stop - start, dtype=np.bool_) for start, stop in self._ranges()]
        for at, (start, stop) in enumerate(self._ranges()):
            inside = rows[(rows >= start) & (rows < stop)] - start
            mask = masks[at]
            if mask is not None:
                mask[inside] = True
        return Allowed(masks)

    def _ranges(self) -> list[tuple[int, int]]:
        return list(zip(self.starts[:-1], self.starts[1:], strict=True))

    def search(
        self,
        name: str,
        query: QueryVector,
        k: int,
        parameters: SearchParameters,
        allowed: Allowed,
        should_stop: ShouldStop | None = None,
    ) -> Scored:
        """Return the best k allowed documents of a named vector; raises VectorError, SearchStopped."""
        rows, scores, recalls, approximate = [], [], [], False
        for start, home, mask in zip(self.starts, self.homes, allowed.masks, strict=False):
            if mask is not None and not mask.any():
                continue
            if isinstance(home, SegmentView):
                found = home.segment.indexes[name].answer_one(
                    query.term_ids, query.weights, k, parameters, allowed=mask, should_stop=should_stop
                )
                approximate |= found.approximate
                recalls.append(found.expected_recall)
                positions, values = found.ids, found.scores
            else:
                _check_stop(should_stop)
                every = home.content.vectors[name].score(query.term_ids, query.weights)
                positions = np.flatnonzero(_live(home) & (every >= 0) if mask is None else mask & (every >= 0))
                values = every[positions]
            rows.append(positions.astype(np.int64) + start)
            scores.append(values)
        if not rows:
            return Scored(np.empty(0, np.int64), np.empty(0, np.float32))
        best = self.best(np.concatenate(rows), np.concatenate(scores), k)
        return Scored(*best, approximate, lowest_recall(recalls))

    def score(self, name: str, query: QueryVector, rows: Rows) -> Scores:
        """Return the canonical score of each row in a named vector, float32[n]; 0 for one that shares no term."""
        scores = np.zeros(len(rows), dtype=np.float32)
        if not len(query.term_ids):
            return scores
        for _, home, chosen, positions in self.split(rows):
            if isinstance(home, SegmentView):
                values = home.segment.indexes[name].score(query.term_ids, query.weights, positions)
            else:
                values = home.content.vectors[name].score(query.term_ids, query.weights)[positions]
            scores[chosen] = np.maximum(values, 0.0)
        return scores

    def matching(
        self, name: str, query: QueryVector, allowed: Allowed, should_stop: ShouldStop | None = None
    ) -> Allowed:
        """Return the mask of the allowed documents that share a term with the query."""
        masks: list[Mask | None] = []
        for home, mask in zip(self.homes, allowed.masks, strict=True):
            _check_stop(should_stop)
            if isinstance(home, SegmentView):
                found = home.segment.indexes[name].matching(query.term_ids)
            else:
                found = home.content.vectors[name].score(query.term_ids, query.weights) >= 0
            masks.append(found if mask is None else found & mask)
        return Allowed(masks)

    def best(self, rows: Rows, scores: NDArray[np.floating], k: int) -> tuple[Rows, Scores]:
        """Return the best k rows, by descending score, then ascending id: (rows, scores)."""
        order = self.order(rows, scores, k)
        return rows[order], scores[order]

    def order(self, rows: Rows, scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
        """Return the positions of the best k, by descending score, then ascending id; ids are read for ties alone."""
        if len(rows) > k:
            threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
            kept = np.flatnonzero(scores >= threshold)
        else:
            kept = np.arange(len(rows))
        order = kept[np.argsort(-scores[kept], kind="stable")]
        ordered = scores[order]
        tied = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(tied):
            touched = np.unique(np.concatenate([tied, tied + 1]))
            ids = dict(zip(touched.tolist(), self.ids(rows[order[touched]]), strict=True))
            # Runs of equal scores, each sorted by id in place.
            breaks = np.flatnonzero(np.diff(touched) > 1) + 1
            for run in np.split(touched, breaks):
                for group in np.split(run, np.flatnonzero(np.diff(ordered[run]) != 0) + 1):
                    by_id = sorted(group.tolist(), key=ids.__getitem__)
                    order[group] = order[by_id]
        return order[:k]


class Allowed:
    """Which documents of each home a search may find: bool[n], or None for all of them."""

    def __init__(self, masks: Sequence[Mask | None]) -> None:
        self.masks = list(masks)

    def __and__(self, other: Allowed) -> Allowed:
        return Allowed(
            [b if a is None else a if b is None else a & b for a, b in zip(self.masks, other.masks, strict=True)]
        )

    def __or__(self, other: Allowed) -> Allowed:
        return Allowed(
            [None if a is None or b is None else a | b for a, b in zip(self.masks, other.masks, strict=True)]
        )

    def without(self, space: RowSpace, rows: Rows) -> Allowed:
        """Return the mask with these rows taken out."""
        if not len(rows):
            return self
        excluded = space.only(rows)
        live = space.everything()
        masks: list[Mask | None] = []
        for own, gone, home in zip((self & live).masks, excluded.masks, space.homes, strict=True):
            if gone is None or not gone.any():
                masks.append(own)
            else:
                masks.append((_live(home) if own is None else own) & ~gone)
        return Allowed(masks)

    def holds(self, space: RowSpace, rows: Rows) -> Mask:
        """Return whether each row is allowed, bool[n]."""
        found = np.ones(len(rows), dtype=np.bool_)
        for at, _, chosen, positions in space.split(rows):
            mask = self.masks[at]
            if mask is not None:
                found[chosen] = mask[positions]
        return found

    def count(self, space: RowSpace) -> int:
        """Return how many documents are allowed."""
        return sum(
            int(_live(home).sum()) if mask is None else int(np.count_nonzero(mask))
            for home, mask in zip(space.homes, self.masks, strict=True)
        )

    def rows(self, space: RowSpace) -> Rows:
        """Return the allowed rows, ascending."""
        found = [
            np.flatnonzero(_live(home) if mask is None else mask) + start
            for start, home, mask in zip(space.starts, space.homes, self.masks, strict=False)
        ]
        return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)


def _live(home: Home) -> Mask:
    if isinstance(home, PendingChunk):
        return home.live
    return np.ones(len(home.segment), dtype=np.bool_) if home.live is None else home.live


def _table(home: Home) -> pa.Table:
    return home.content.columns if isinstance(home, PendingChunk) else home.segment.documents.table


def _ids(home: Home, positions: NDArray[np.int64]) -> list[str]:
    if isinstance(home, PendingChunk):
        return [home.content.documents[position].id for position in positions.tolist()]
    return home.segment.documents.ids(positions)


def _check_stop(should_stop: ShouldStop | None) -> None:
    if should_stop is not None and should_stop():
        raise SearchStopped("the search was stopped before it was done")
