"""The rows of all shards as one range of numbers, so that a router runs the same search as one machine does.

Row `(i << 40) + p` is row p of shard i. The stages of lsr/search work on it as on the rows of a collection; each
primitive asks all shards at once, and merges what they return. So raw scores are merged first, and normalised, fused,
rescored and fed back over all documents, by the same code that does it for one collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index import SearchParameters
from lsr.results import Damage
from lsr.search.filters import Filter
from lsr.search.query_vectors import QueryVector
from lsr.search.rows import (
    Allowed,
    Mask,
    Order,
    Rows,
    RowSpace,
    Scored,
    Scores,
    ShouldStop,
    ValueCounts,
    lowest_recall,
)
from lsr.sharding.asking import Inquiry
from lsr.sharding.generation import FetchedDocument, ShardedGeneration, fetched
from lsr.sharding.placement import shards_of
from lsr.sharding.selection import Both, Either, Everything, Filtered, Matching, Only, Selection, Without
from lsr.sharding.shard import Found, Wanted
from lsr.storage.generation import RowFilter

_SHARD_BITS = 40  # a row's number: the shard's above, the row in the shard below
_NOTHING = Scored(np.empty(0, np.int64), np.empty(0, np.float32))


class ShardedSpace(RowSpace):
    """The rows of all shards, for one search; used by one thread."""

    def __init__(self, generation: ShardedGeneration, inquiry: Inquiry) -> None:
        self.generation: ShardedGeneration = generation
        self.inquiry = inquiry
        self.homes = ()  # they are elsewhere
        self.starts = [at << _SHARD_BITS for at in range(len(generation.shards) + 1)]
        self._ids: dict[int, str] = {}
        self._prepared: dict[tuple[str, int, int], tuple[QueryVector, _Batch, int]] = {}  # by name, query, k

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What is out of reach of this search."""
        return (*self.generation.damage, *self.inquiry.damage)

    def place(self, row: int) -> FetchedDocument:  # type: ignore[override]
        """Return the document of a row."""
        return self.places(np.array([row], dtype=np.int64))[0]

    def places(self, rows: Rows, sparse: Sequence[str] = (), dense: Sequence[str] = ()) -> list[FetchedDocument]:
        """Return the documents of rows with the vectors that are named, one question to each shard."""
        parts = list(self._split(rows))
        answers = self.inquiry.ask("fetch", {at: (own, tuple(sparse), tuple(dense)) for at, _, own in parts})
        found: list[Any] = [None] * len(rows)
        for at, chosen, own in parts:
            for number, one in zip(chosen.tolist(), fetched(self.inquiry, at, own, answers[at]), strict=True):
                found[number] = one
        return found

    def ids(self, rows: Rows) -> list[str]:
        """Return the external ids of rows; those of hits came with them."""
        unknown = np.array([row for row in rows.tolist() if row not in self._ids], dtype=np.int64)
        if len(unknown):
            parts = list(self._split(unknown))
            answers = self.inquiry.ask("ids", {at: (own,) for at, _, own in parts})
            for at, _, own in parts:
                self._keep_ids(at, own, answers[at])
        return [self._ids[row] for row in rows.tolist()]

    def find(self, ids: Sequence[str]) -> Rows:
        """Return the rows of live documents, int64[len(ids)], -1 for an unknown one."""
        found = np.full(len(ids), -1, dtype=np.int64)
        owners = shards_of(ids, len(self.generation.shards))
        wanted = {at: np.flatnonzero(owners == at) for at in self.inquiry.asked}
        given = {at: ([ids[number] for number in chosen.tolist()],) for at, chosen in wanted.items() if len(chosen)}
        for at, rows in self.inquiry.ask("find", given).items():
            found[wanted[at]] = np.where(rows >= 0, rows + self.starts[at], -1)
        return found

    def columns(self, rows: Rows, names: Sequence[str]) -> pa.Table:
        """Return metadata columns of rows, in the order of `rows`."""
        parts = list(self._split(rows))
        if not parts:
            at = self.inquiry.asked[0]
            table: pa.Table = self.inquiry.ask("columns", {at: (rows, tuple(names))})[at]
            return table
        answers = self.inquiry.ask("columns", {at: (own, tuple(names)) for at, _, own in parts})
        back = np.empty(len(rows), dtype=np.int64)
        back[np.concatenate([chosen for _, chosen, _ in parts])] = np.arange(len(rows))
        return pa.concat_tables([answers[at] for at, _, _ in parts]).take(back)

    def value_counts(self, chosen: Rows | Allowed, names: Sequence[str]) -> dict[str, ValueCounts]:
        """Return how often each value of metadata columns occurs: each shard counts its own."""
        if isinstance(chosen, ShardedAllowed):
            given: dict[int, Any] = {at: (chosen.selections[at], tuple(names)) for at in self.inquiry.asked}
        else:
            rows = chosen if isinstance(chosen, np.ndarray) else chosen.rows(self)
            given = {at: (own, tuple(names)) for at, _, own in self._split(rows)}
            given = given or {self.inquiry.asked[0]: (rows, tuple(names))}
        answers = list(self.inquiry.ask("value_counts", given).values())
        return {name: ValueCounts.sum([one[name] for one in answers]) for name in names}

    def first_by(self, allowed: Allowed, column: str, order: Order, most: int) -> Rows:
        """Return the first `most` allowed rows of each shard in the order of a metadata column."""
        answers = self._ask_selected("first_by", allowed, column, order, most)
        return _joined([rows + self.starts[at] for at, rows in answers.items()])

    def everything(self) -> Allowed:
        """Return all live documents."""
        return ShardedAllowed([Everything()] * len(self.generation.shards))

    def chosen(self, row_filter: RowFilter | None) -> Allowed:
        """Return the live documents that match a filter."""
        if row_filter is None:
            return self.everything()
        if not isinstance(row_filter, Filter):
            raise TypeError("a filter for shards is a Filter, which can be sent to them")
        return ShardedAllowed([Filtered(row_filter.value)] * len(self.generation.shards))  # type: ignore[arg-type] # it was checked

    def only(self, rows: Rows) -> Allowed:
        """Return these rows."""
        own = {at: part for at, _, part in self._split(rows)}
        return ShardedAllowed([Only(own.get(at, np.empty(0, np.int64))) for at in range(len(self.generation.shards))])

    def prepare(
        self,
        wanted: Sequence[tuple[str, QueryVector, int]],
        parameters: SearchParameters,
        allowed: Allowed,
        should_stop: ShouldStop | None = None,  # noqa: ARG002 - the shards have the time of the whole search
    ) -> None:
        """Send all searches in one question to each shard."""
        if not wanted:
            return
        every = tuple(Wanted(*one) for one in wanted)
        gather = self.inquiry.begin(
            "search",
            {at: (every, parameters, _selections(allowed)[at]) for at in self.inquiry.asked},
            first=True,
        )
        batch = _Batch(gather)
        for number, one in enumerate(every):
            self._prepared[one.using, id(one.query), one.k] = (one.query, batch, number)

    def search(
        self,
        name: str,
        query: QueryVector,
        k: int,
        parameters: SearchParameters,
        allowed: Allowed,
        should_stop: ShouldStop | None = None,
    ) -> Scored:
        """Return the best k allowed documents of all shards."""
        key = (name, id(query), k)
        if key not in self._prepared:
            self.prepare([(name, query, k)], parameters, allowed, should_stop)
        _, batch, number = self._prepared.pop(key)
        return self._merged(batch.lists(number), k)

    def score(self, name: str, query: QueryVector, rows: Rows) -> Scores:
        """Return the canonical score of each row in a named vector, float32[n]; 0 for one that shares no term."""
        return self.scores([(name, query, rows)])[0]

    def scores(self, wanted: Sequence[tuple[str, QueryVector, Rows]]) -> list[Scores]:
        """Return what `score` returns for each (name, query, rows), with one question to each shard."""
        found = [np.zeros(len(rows), dtype=np.float32) for _, _, rows in wanted]
        questions: dict[int, list[tuple[str, QueryVector, Rows]]] = {}
        places: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
        for number, (name, query, rows) in enumerate(wanted):
            if not len(query.term_ids):
                continue
            for at, chosen, own in self._split(rows):
                questions.setdefault(at, []).append((name, query, own))
                places.setdefault(at, []).append((number, chosen))
        for at, answers in self.inquiry.ask("score", {at: (asked,) for at, asked in questions.items()}).items():
            for (number, chosen), scores in zip(places[at], answers, strict=True):
                found[number][chosen] = scores
        return found

    def dense_scores(self, name: str, rows: Rows, query: NDArray[np.float32]) -> tuple[Scores, Mask]:
        """Return the canonical dense scores of rows, and which of them have the dense vector."""
        scores = np.zeros(len(rows), dtype=np.float32)
        present = np.zeros(len(rows), dtype=np.bool_)
        parts = list(self._split(rows))
        answers = self.inquiry.ask("dense_scores", {at: (name, own, query) for at, _, own in parts})
        for at, chosen, _ in parts:
            scores[chosen], present[chosen] = answers[at]
        return scores, present

    def matching(
        self,
        name: str,
        query: QueryVector,
        allowed: Allowed,
        should_stop: ShouldStop | None = None,  # noqa: ARG002 - it is evaluated later
    ) -> Allowed:
        """Return the allowed documents that share a term with the query."""
        return ShardedAllowed([Matching(one, name, query.term_ids) for one in _selections(allowed)])

    def _split(self, rows: Rows) -> Iterator[tuple[int, NDArray[np.int64], Rows]]:
        """Yield, for each shard that has some of the rows: its number, positions in `rows`, its own rows."""
        owner = np.searchsorted(self.starts[1:], rows, side="right")
        for at in range(len(self.generation.shards)):
            chosen = np.flatnonzero(owner == at)
            if len(chosen):
                yield at, chosen, rows[chosen] - self.starts[at]

    def _ask_selected(self, operation: str, allowed: Allowed, *arguments: Any) -> dict[int, Any]:
        selections = _selections(allowed)
        return self.inquiry.ask(operation, {at: (selections[at], *arguments) for at in self.inquiry.asked})

    def _merged(self, found: Mapping[int, Found], k: int) -> Scored:
        if not found:
            return _NOTHING
        for at, one in found.items():
            if one.ids is not None:
                self._keep_ids(at, one.rows, one.ids)
        rows = np.concatenate([one.rows + self.starts[at] for at, one in found.items()])
        best = self.best(rows, np.concatenate([one.scores for one in found.values()]), k)
        approximate = any(one.approximate for one in found.values())
        return Scored(*best, approximate, lowest_recall(one.expected_recall for one in found.values()))

    def _keep_ids(self, at: int, own: Rows, ids: Sequence[str]) -> None:
        self._ids.update(zip((own + self.starts[at]).tolist(), ids, strict=True))


class _Batch:
    """Several lists that were asked for in one question to each shard."""

    def __init__(self, gather: Callable[[], dict[int, list[Found]]]) -> None:
        self._gather = gather
        self._answers: dict[int, list[Found]] | None = None

    def lists(self, number: int) -> dict[int, Found]:
        """Return one list of each shard that answered; waits for the answers at the first call."""
        if self._answers is None:
            self._answers = self._gather()
        return {at: lists[number] for at, lists in self._answers.items()}


class ShardedAllowed(Allowed):
    """Which documents of each shard a search may find, as expressions that the shards evaluate."""

    def __init__(self, selections: Sequence[Selection]) -> None:
        self.selections = list(selections)

    def __and__(self, other: Allowed) -> Allowed:
        return ShardedAllowed([Both(a, b) for a, b in zip(self.selections, _selections(other), strict=True)])

    def __or__(self, other: Allowed) -> Allowed:
        return ShardedAllowed([Either(a, b) for a, b in zip(self.selections, _selections(other), strict=True)])

    def without(self, space: RowSpace, rows: Rows) -> Allowed:
        """Return the selection with these rows taken out."""
        own = {at: part for at, _, part in _sharded(space)._split(rows)}
        return ShardedAllowed([Without(one, own[at]) if at in own else one for at, one in enumerate(self.selections)])

    def holds(self, space: RowSpace, rows: Rows) -> Mask:
        """Return whether each row is allowed, bool[n]."""
        sharded = _sharded(space)
        found = np.zeros(len(rows), dtype=np.bool_)
        parts = list(sharded._split(rows))
        answers = sharded.inquiry.ask("holds", {at: (self.selections[at], own) for at, _, own in parts})
        for at, chosen, _ in parts:
            found[chosen] = answers[at]
        return found

    def count(self, space: RowSpace) -> int:
        """Return how many documents are allowed."""
        return sum(_sharded(space)._ask_selected("count", self).values())

    def rows(self, space: RowSpace) -> Rows:
        """Return the allowed rows, ascending."""
        sharded = _sharded(space)
        answers = sharded._ask_selected("rows", self)
        return _joined([answers[at] + sharded.starts[at] for at in sorted(answers)])


def _selections(allowed: Allowed) -> list[Selection]:
    if not isinstance(allowed, ShardedAllowed):
        raise TypeError("the mask of a collection says nothing about shards")
    return allowed.selections


def _sharded(space: RowSpace) -> ShardedSpace:
    if not isinstance(space, ShardedSpace):
        raise TypeError("a selection of shards needs their rows")
    return space


def _joined(parts: Sequence[Rows]) -> Rows:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
