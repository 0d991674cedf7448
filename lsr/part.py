"""`Part`: the documents of a collection that match a filter, for a caller who must not know of any others.

What is read here is read from a part of the generation (storage/generation_part.py): searches, facets, totals,
documents by id, `like`, suggestions, and the statistics that weigh a query's terms. So no answer, score or count
depends on a document outside. What is written must match the filter, and cannot replace or delete a document outside.

Kept answers and cursors are those of the collection, under a key that holds the filter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from lsr.collection import Collection
from lsr.dense_vectors import DenseVector
from lsr.documents import Document
from lsr.errors import InvalidDocument, QueryError
from lsr.reading import Reader
from lsr.results import CollectionInfo, SearchResult, WriteResult
from lsr.search.filters import Filter
from lsr.search.request import Query, SearchKeywords
from lsr.storage.generation import Generation
from lsr.storage.generation_part import Masked, part_of
from lsr.storage.live_state import LiveState
from lsr.storage.pending import columns_of
from lsr.vectors import NamedVector

OnProblem = Callable[[int, InvalidDocument], None]


class PartState:
    """A collection's state with a part of its documents."""

    def __init__(self, live: LiveState, generation: Generation) -> None:
        self._live = live
        self.generation = generation

    @property
    def vectors(self) -> Mapping[str, NamedVector]:
        """The sparse vectors."""
        return self._live.vectors

    @property
    def dense(self) -> Mapping[str, DenseVector]:
        """The dense vectors."""
        return self._live.dense

    @property
    def search(self) -> Any:
        """The search defaults as they are stored."""
        return self._live.search


class Part(Reader):
    """The documents of an open collection that match a filter. Safe to use from many threads."""

    def __init__(self, whole: Collection, condition: Mapping[str, Any]) -> None:
        """Raises QueryError, UnknownField for a filter that does not fit the collection."""
        if not whole.has_parts:
            raise QueryError("a collection in shards has no parts: bind the key to whole collections", field="filter")
        super().__init__(whole.path, whole.name, whole._answers)
        self.whole = whole
        self._condition = dict(condition)
        self._scope = "part " + json.dumps(self._condition, sort_keys=True)
        self._known: tuple[LiveState, Generation, PartState] | None = None
        self._masked: Masked = {}
        _ = self._state

    @property
    def _state(self) -> PartState:
        live = self.whole._state
        generation, known = live.generation, self._known
        if known is not None and known[0] is live and known[1] is generation:
            return known[2]
        part, self._masked = part_of(generation, Filter(self._condition, generation.schema), self._masked)
        state = PartState(live, part)
        self._known = (live, generation, state)
        return state

    @property
    def read_only(self) -> str | None:
        """Why nothing can be written here now; None where writes are accepted."""
        return self.whole.read_only

    def search(
        self,
        query: Query,
        *,
        timeout_ms: float | None = None,
        scope: str = "",
        sampled: bool = True,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Search as `Collection.search` does; the hits, totals and facets are those of the part.

        A query of a part is never sampled: only `Collection` has a sample.
        """
        scope = f"{self._scope} {scope}"
        return super().search(query, timeout_ms=timeout_ms, scope=scope, sampled=sampled, **options)

    def info(self) -> CollectionInfo:
        """Return the description of the part; what only the whole collection has is left out (`is_part`)."""
        found = super().info()
        vectors = {
            name: replace(one, terms=0) if name in self._state.vectors and self._grows(name) else one
            for name, one in found.vectors.items()
        }
        return replace(found, stored=(), segments=0, deleted=0, vectors=vectors, is_part=True)

    def check(self, document: Document) -> None:
        """Raise InvalidDocument if the document cannot be written here."""
        self.whole.check(document)
        if not self._matches(document):
            raise InvalidDocument(
                "outside_filter", "the document does not match the filter of this part", field="metadata"
            )
        if self.whole.get(document.id) is not None and self.get(document.id) is None:
            raise InvalidDocument("outside_filter", "the id is in use outside of this part", field="id")

    def write(self, documents: Sequence[Document], *, on_problem: OnProblem | None = None) -> WriteResult:
        """Write as `Collection.write` does; a document that does not match, or whose id is in use outside, is refused.

        The caller sees to it that no other write to the collection runs between the check and the write.
        """
        positions = []
        for position, document in enumerate(documents):
            try:
                self.check(document)
            except InvalidDocument as error:
                if on_problem is None:
                    raise
                on_problem(position, error)
            else:
                positions.append(position)

        def refuse(position: int, error: InvalidDocument) -> None:
            if on_problem is not None:
                on_problem(positions[position], error)

        return self.whole.write([documents[position] for position in positions], on_problem=refuse)

    def delete(self, ids: Iterable[str]) -> WriteResult:
        """Delete documents of the part by id; others are not found."""
        generation = self._state.generation
        return self.whole.delete([one for one in ids if generation.find(one) is not None])

    def patch(self, identifier: str, metadata: Mapping[str, Any]) -> WriteResult | None:
        """Change the metadata of a document of the part, which must stay in it; see `Collection.patch`."""
        document = self.get(identifier)
        if document is None:
            return None
        merged = {key: value for key, value in {**document.metadata, **metadata}.items() if value is not None}
        self._state.generation.schema.check(merged)
        if not self._matches(replace(document, metadata=merged)):
            raise InvalidDocument(
                "outside_filter", "the document would not match the filter of this part", field="metadata"
            )
        return self.whole.patch(identifier, metadata)

    def _matches(self, document: Document) -> bool:
        schema = self._state.generation.schema
        return bool(np.all(Filter(self._condition, schema).mask(columns_of([document], schema))))

    def _grows(self, name: str) -> bool:
        return self._state.vectors[name].vocabulary.grows
