"""One shard, opened for reading: the operations that a router asks of it.

A shard is an ordinary collection. Its operations are the primitives of a search (lsr/search/rows.py) over its own rows,
in batches: a router that runs the pipeline needs one answer of each shard per stage. What decides a ranking (query
weights, document frequencies, fusion) is the router's business, so a shard needs no encoder.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index import SearchParameters, warm_kernels
from index.searching.calibration import Calibration
from lsr.documents import Document
from lsr.errors import LsrError
from lsr.metadata import MetadataSchema
from lsr.results import Damage
from lsr.search import listing
from lsr.search.filters import Filter
from lsr.search.query_vectors import QueryVector
from lsr.search.request import Sort
from lsr.search.rows import Allowed, Mask, Order, Rows, RowSpace, Scores, ValueCounts
from lsr.search.sorting import sorted_rows
from lsr.search.suggestions import sampled
from lsr.sharding.selection import Selection
from lsr.storage.live_state import ReadState, open_to_read
from lsr.storage.sample_queries import spaced_texts

IDS_WITH_HITS: Final = 1_000  # hits of a list up to which their ids are returned too: they decide ties
_KEPT_FILTERS: Final = 8


class Wanted(NamedTuple):
    """One list of a search: a query against a named vector, and how many documents it may find."""

    using: str
    query: QueryVector
    k: int


class Found(NamedTuple):
    """The best documents of one list: rows int64[n], scores float32[n], ids where there are few."""

    rows: Rows
    scores: Scores
    ids: list[str] | None
    approximate: bool
    expected_recall: float | None


class Fetched(NamedTuple):
    """Documents with the vectors that were asked for, by name, in the order of the rows."""

    documents: list[Document]
    sparse: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]]
    dense: dict[str, list[tuple[NDArray[np.int8], np.float32]]]


class ShardInfo(NamedTuple):
    """What a shard says of itself."""

    rows: int
    documents: int
    vectors: dict[str, str | None]  # fingerprints
    damage: tuple[Damage, ...]
    published: int  # documents that it was published with


class ReadShard(ReadState, Protocol):
    """What is read of a shard's state."""

    @property
    def schema(self) -> MetadataSchema:
        """The metadata fields."""
        ...

    @property
    def catalog(self) -> Closing:
        """What is closed with the shard."""
        ...


class Closing(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Close it."""
        ...


class ShardReader:
    """An open shard. Safe to use from many threads."""

    def __init__(self, opened: Path | ReadShard, *, published: int | None = None) -> None:
        """Open the collection in a folder, or read an open one; raises what `Collection.open` raises.

        published  with how many documents it was published, where that is not what it has
        """
        self._published = published
        self._state: ReadShard = open_to_read(opened) if isinstance(opened, Path) else opened
        self.space = RowSpace(self._state.generation)
        self._filters: OrderedDict[str, Allowed] = OrderedDict()
        self._operations: Mapping[str, Callable[..., Any]] = {name: getattr(self, name) for name in OPERATIONS}

    @property
    def newest(self) -> ShardReader:
        """This one: an immutable shard has one version."""
        return self

    def close(self) -> None:
        """Close its catalog."""
        self._state.catalog.close()

    def answer(
        self,
        operation: str,
        arguments: Sequence[Any],
        seconds: float | None,
        version: int | None,  # noqa: ARG002 - there is only one
        least: int,  # noqa: ARG002 - it is not written
    ) -> tuple[Any, int]:
        """Return the result of `run` and the version 0: an immutable shard has one."""
        return self.run(operation, arguments, seconds), 0

    def run(self, operation: str, arguments: Sequence[Any], seconds: float | None) -> Any:
        """Run an operation by name; raises LsrError for an unknown one, SearchStopped after `seconds`."""
        found = self._operations.get(operation)
        if found is None:
            raise LsrError(f"a shard has no operation {operation!r}: router and shards run different versions")
        if operation not in _BOUNDED:
            return found(*arguments)
        end = None if seconds is None else time.monotonic() + seconds
        return found(*arguments, None if end is None else lambda: time.monotonic() > end)

    def filtered(self, condition: Mapping[str, Any]) -> Allowed:
        """Return the mask of a filter; those used last are kept."""
        key = repr(condition)
        known = self._filters.get(key)
        if known is None:
            known = self._filters[key] = self.space.chosen(Filter(condition, self._state.schema))
            while len(self._filters) > _KEPT_FILTERS:
                self._filters.popitem(last=False)
        return known

    # --- operations

    def describe(self) -> ShardInfo:
        """Return what the shard says of itself."""
        state = self._state
        vectors = {name: vector.fingerprint for name, vector in state.vectors.items()}
        vectors |= {name: vector.fingerprint for name, vector in state.dense.items()}
        generation = state.generation
        count = generation.document_count
        published = count if self._published is None else self._published
        return ShardInfo(len(self.space), count, vectors, generation.damage, published)

    def warm(self) -> None:
        """Compile the kernels and touch the files."""
        warm_kernels()
        for view in self._state.generation.segments:
            for index in view.segment.indexes.values():
                index.warm()

    def search(
        self,
        wanted: Sequence[Wanted],
        parameters: SearchParameters,
        selection: Selection,
        should_stop: Callable[[], bool] | None,
    ) -> list[Found]:
        """Return the best documents of each list."""
        allowed = selection.allowed(self, should_stop)
        lists = []
        for one in wanted:
            found = self.space.search(one.using, one.query, one.k, parameters, allowed, should_stop)
            ids = self.space.ids(found.rows) if len(found.rows) <= IDS_WITH_HITS else None
            lists.append(Found(found.rows, found.scores, ids, found.approximate, found.expected_recall))
        return lists

    def score(self, wanted: Sequence[tuple[str, QueryVector, Rows]]) -> list[Scores]:
        """Return the canonical scores of rows, for each of several queries."""
        return [self.space.score(using, query, rows) for using, query, rows in wanted]

    def count(self, selection: Selection, should_stop: Callable[[], bool] | None) -> int:
        """Return how many documents are selected."""
        return selection.allowed(self, should_stop).count(self.space)

    def rows(self, selection: Selection, should_stop: Callable[[], bool] | None) -> Rows:
        """Return the selected rows, ascending."""
        return selection.allowed(self, should_stop).rows(self.space)

    def holds(self, selection: Selection, rows: Rows, should_stop: Callable[[], bool] | None) -> Mask:
        """Return which of the rows are selected."""
        return selection.allowed(self, should_stop).holds(self.space, rows)

    def first_by(
        self, selection: Selection, column: str, order: Order, most: int, should_stop: Callable[[], bool] | None
    ) -> Rows:
        """Return the first `most` selected rows in the order of a metadata column."""
        sort = Sort(column.removeprefix("metadata."), order)
        return sorted_rows(self.space, selection.allowed(self, should_stop), sort, most)

    def value_counts(
        self, chosen: Selection | Rows, names: Sequence[str], should_stop: Callable[[], bool] | None
    ) -> dict[str, ValueCounts]:
        """Return how often each value of metadata columns occurs, among selected documents or rows."""
        rows = chosen if isinstance(chosen, np.ndarray) else chosen.allowed(self, should_stop)
        return self.space.value_counts(rows, names)

    def columns(self, rows: Rows, names: Sequence[str]) -> pa.Table:
        """Return metadata columns of rows."""
        return self.space.columns(rows, names).combine_chunks()

    def ids(self, rows: Rows) -> list[str]:
        """Return the external ids of rows."""
        return self.space.ids(rows)

    def find(self, ids: Sequence[str]) -> Rows:
        """Return the rows of live documents, -1 for an unknown one."""
        return self.space.find(ids)

    def fetch(self, rows: Rows, sparse: Sequence[str], dense: Sequence[str]) -> Fetched:
        """Return documents, and those of their vectors that are named."""
        places = self.space.places(rows)
        return Fetched(
            [place.document() for place in places],
            {name: [place.vector(name) for place in places] for name in sparse},
            {name: [place.dense(name) for place in places] for name in dense},
        )

    def dense_scores(self, name: str, rows: Rows, query: NDArray[np.float32]) -> tuple[Scores, Mask]:
        """Return the canonical dense scores of rows, and which of them have the vector."""
        return self.space.dense_scores(name, rows, query)

    def page(self, after: str | None, size: int, condition: Mapping[str, Any] | None) -> list[Document]:
        """Return the first `size` documents with an id above `after`."""
        row_filter = None if condition is None else Filter(condition, self._state.schema)
        return [place.document() for place in listing.page(self._state.generation, after, size, row_filter)]

    def matching(self, condition: Mapping[str, Any]) -> list[str]:
        """Return the ids of the documents that match a filter."""
        return list(self._state.generation.matching(Filter(condition, self._state.schema)))

    def frequencies(self, name: str, terms: int) -> NDArray[np.int64]:
        """Return the document frequency of each of the first `terms` term numbers, int64[terms]."""
        return self._state.generation.statistics(name).document_frequencies(np.arange(terms, dtype=np.int64))

    def sampled(self, step: int) -> list[tuple[str, str]]:
        """Return title and first words of every `step`-th document, for suggestions."""
        return list(sampled(self._state.generation, step))

    def sample_texts(self, count: int) -> list[str]:
        """Return short texts of about `count` documents."""
        return spaced_texts(self._state.generation, count)

    def recall_curve(self, name: str) -> tuple[int, Calibration | None]:
        """Return the documents of the largest segment, and its measured recall."""
        views = self._state.generation.segments
        largest = max(views, key=lambda view: view.live_count, default=None)
        return (0, None) if largest is None else (largest.live_count, largest.segment.indexes[name].calibration)


OPERATIONS: Final = (
    "describe", "warm", "search", "score", "count", "rows", "holds", "first_by", "value_counts", "columns", "ids",
    "find", "fetch", "dense_scores", "page", "matching", "frequencies", "sampled", "sample_texts", "recall_curve",
)  # fmt: skip
_BOUNDED: Final = frozenset(
    {"search", "count", "rows", "holds", "first_by", "value_counts"}
)  # those that can be stopped
