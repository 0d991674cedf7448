"""What one reader sees: the segments, the deletions and the pending documents after one committed change.

A generation is immutable. A search takes the current one at its start and keeps it to its end, so it never sees half
a batch; a write, a seal or a merge makes the next one. Segment files that a merge has removed stay readable for as
long as a generation maps them.

Segments number their documents by ascending id, so each segment's own top k is the right one; the pending documents are
scored individually with the same arithmetic. How the two are searched together is lsr/search/rows.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index import DenseRows
from lsr.documents import Document
from lsr.errors import CollectionCorrupt
from lsr.metadata import MetadataSchema
from lsr.results import Damage
from lsr.storage.id_file import hash_ids
from lsr.storage.pending import Pending, PendingChunk
from lsr.storage.segment import Segment
from lsr.storage.term_counts import TermCounts


class RowFilter(Protocol):
    """Chooses documents by their metadata columns."""

    def mask(self, columns: pa.Table) -> NDArray[np.bool_]:
        """Return which rows match, bool[rows]."""
        ...


class SegmentView:
    """A segment and which of its documents are deleted; immutable."""

    def __init__(self, segment: Segment, live: NDArray[np.bool_] | None, dead: NDArray[np.int64]) -> None:
        """`live` bool[n], None when nothing is deleted; `dead` the deleted doc_ids."""
        self.segment = segment
        self.live = live
        self.dead = dead
        self._dead_counts: dict[str, TermCounts] = {}

    @classmethod
    def of(cls, segment: Segment, dead: NDArray[np.int64]) -> SegmentView:
        """Return the view of a segment with these deleted doc_ids."""
        return cls(segment, None, np.empty(0, np.int64)).without(dead)

    @property
    def live_count(self) -> int:
        """Documents that are not deleted."""
        return len(self.segment) - len(self.dead)

    def without(self, doc_ids: NDArray[np.int64]) -> SegmentView:
        """Return the view with more documents deleted; none of them may be deleted already."""
        if not len(doc_ids):
            return self
        live = np.ones(len(self.segment), dtype=np.bool_) if self.live is None else self.live.copy()
        live[doc_ids] = False
        view = SegmentView(self.segment, live, np.concatenate([self.dead, doc_ids]))
        # Counts that exist are carried over; the others are made when asked for.
        for name, counts in list(self._dead_counts.items()):
            view._dead_counts[name] = counts.add(self.segment.term_ids(name, doc_ids))
        return view

    def moved_to(self, segment: Segment) -> SegmentView:
        """Return the view of another segment with the same documents under the same doc_ids."""
        view = SegmentView(segment, self.live, self.dead)
        view._dead_counts = dict(self._dead_counts)
        return view

    def find(self, ids: Sequence[str], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return each id's doc_id, int64[len(ids)], -1 where it is not here or deleted."""
        found = self.segment.find(ids, hashes)
        if self.live is not None:
            found[(found >= 0) & ~self.live[found]] = -1
        return found

    def document_frequencies(self, name: str, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many live documents each term occurs."""
        frequencies = self.segment.indexes[name].document_frequencies(term_ids)
        if len(self.dead):
            if name not in self._dead_counts:
                self._dead_counts[name] = TermCounts().add(self.segment.term_ids(name, self.dead))
            frequencies = frequencies - self._dead_counts[name].of(term_ids)
        return frequencies

    def allowed(self, row_filter: RowFilter | None) -> NDArray[np.bool_] | None:
        """Return which documents a search may find, bool[n]; None for all of them."""
        if row_filter is None:
            return self.live
        chosen = row_filter.mask(self.segment.documents.table)
        return chosen if self.live is None else chosen & self.live


class FoundDocument(Protocol):
    """A document that was found, wherever it is."""

    @property
    def id(self) -> str:
        """The external id."""
        ...

    def document(self) -> Document:
        """The document, without its vectors."""
        ...

    def vector(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The vector: term numbers int64, ascending, and canonical impacts float32."""
        ...

    def dense(self, name: str) -> tuple[NDArray[np.int8], np.float32]:
        """The dense vector: a row of int8[dims] and its scale, 0 where the document has none."""
        ...


class Place(NamedTuple):
    """Where a document is: its position in a segment or in a chunk of pending documents."""

    home: SegmentView | PendingChunk
    position: int

    @property
    def id(self) -> str:
        """The external id."""
        if isinstance(self.home, SegmentView):
            return self.home.segment.documents.id(self.position)
        return self.home.content.documents[self.position].id

    def document(self) -> Document:
        """The document, without its vectors."""
        if isinstance(self.home, SegmentView):
            return self.home.segment.documents.document(self.position)
        return self.home.content.documents[self.position]

    def vector(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The vector: term numbers int64, ascending, and canonical impacts float32."""
        if isinstance(self.home, SegmentView):
            return self.home.segment.vector(name, self.position)
        return self.home.content.vectors[name].row(self.position)

    def dense(self, name: str) -> tuple[NDArray[np.int8], np.float32]:
        """The dense vector: a row of int8[dims] and its scale, 0 where the document has none."""
        return _dense_rows(self.home, name).row(self.position)


@dataclass(frozen=True)
class Generation:
    """The collection after change number `seq`. `segments` leaves out those that `damage` reports."""

    seq: int
    segments: tuple[SegmentView, ...] = ()
    pending: Pending = field(default_factory=Pending)
    damage: tuple[Damage, ...] = ()
    schema: MetadataSchema = field(default_factory=MetadataSchema)  # the columns that every document has
    is_part: bool = False  # only the documents that a filter matches, see generation_part.py

    def require_whole(self) -> None:
        """Raise CollectionCorrupt when something is damaged, so that an answer could be wrong without saying so."""
        if self.damage:
            first = self.damage[0]
            raise CollectionCorrupt(
                first.path,
                f"{first.reason}; {sum(one.documents for one in self.damage)} documents are out of reach. Searches go "
                "on without them; nothing is written before the file is back as it was and the collection reopened",
            )

    @property
    def document_count(self) -> int:
        """Live documents."""
        return sum(view.live_count for view in self.segments) + len(self.pending)

    def find(self, identifier: str) -> Place | None:
        """Return where a live document is, or None; raises CollectionCorrupt when it may be in a damaged segment."""
        pending = self.pending.find(identifier)
        if pending is not None:
            return Place(*pending)
        hashes = hash_ids([identifier])
        for view in self.segments:
            doc_id = int(view.find([identifier], hashes)[0])
            if doc_id >= 0:
                return Place(view, doc_id)
        self.require_whole()
        return None

    def matching(self, row_filter: RowFilter) -> Iterator[str]:
        """Yield the ids of the live documents that match, segment by segment; raises CollectionCorrupt as `find`."""
        self.require_whole()
        for view in self.segments:
            allowed = view.allowed(row_filter)
            for doc_id in np.flatnonzero(allowed).tolist() if allowed is not None else ():
                yield view.segment.documents.id(doc_id)
        for chunk in self.pending.chunks:
            for position in np.flatnonzero(chunk.live & row_filter.mask(chunk.content.columns)).tolist():
                yield chunk.content.documents[position].id

    def statistics(self, name: str) -> GenerationStatistics:
        """Return the live document frequencies of a named vector."""
        return GenerationStatistics(self, name)

    def dense_scores(
        self, name: str, places: Sequence[Place], query: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the canonical dense scores of documents, float32[n], and which of them have the dense vector, bool[n].

        query  float32[dims]. A document without the vector has the score 0. Raises VectorError for another length.
        """
        scores = np.zeros(len(places), dtype=np.float32)
        present = np.zeros(len(places), dtype=np.bool_)
        by_home: dict[int, list[int]] = {}
        for at, place in enumerate(places):
            by_home.setdefault(id(place.home), []).append(at)
        for members in by_home.values():
            rows = _dense_rows(places[members[0]].home, name)
            # By ascending position: a file is read from front to back.
            members.sort(key=lambda at: places[at].position)
            positions = [places[at].position for at in members]
            scores[members] = rows.score(positions, query)
            present[members] = rows.present(positions)
        return scores, present


@dataclass(frozen=True, slots=True)
class GenerationStatistics:
    """CorpusStatistics of one named vector: exact, over live documents only."""

    generation: Generation
    name: str

    @property
    def document_count(self) -> int:
        """Live documents."""
        return self.generation.document_count

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many live documents each term occurs, int64[len(term_ids)]."""
        total = np.zeros(len(term_ids), dtype=np.int64)
        homes: list[SegmentView | PendingChunk] = [*self.generation.segments, *self.generation.pending.chunks]
        for home in homes:
            total += home.document_frequencies(self.name, term_ids)
        return total


def _dense_rows(home: SegmentView | PendingChunk, name: str) -> DenseRows:
    return home.segment.dense[name] if isinstance(home, SegmentView) else home.content.dense[name]


def find_many(generation: Generation, ids: Sequence[str]) -> Mapping[int, NDArray[np.int64]]:
    """Return the live doc_ids of those of `ids` that lie in segments, by segment number."""
    hashes = hash_ids(ids)
    found = {}
    for view in generation.segments:
        doc_ids = view.find(ids, hashes)
        doc_ids = np.unique(doc_ids[doc_ids >= 0])
        if len(doc_ids):
            found[view.segment.row.segment] = doc_ids
    return found
