"""The writer of one shard: an ordinary collection that takes the shard's writes, and what its replicas ask of it.

The folder begins as a copy of the published shard and stays on a disk of its own. A write is acknowledged when the
collection has committed it. Replicas (live_reader.py) follow by asking for what has changed since the version that they
have: pending documents with their vectors, deletions, and the list of segments, whose files they copy once. What they
get is a state, not a log: a replica that missed something, or starts anew, asks from what it has.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import InvalidDocument, LsrError, QueryError
from lsr.sharding.new_terms import Extend, TokenFinder, growing, learn
from lsr.storage import layout
from lsr.storage.catalog_schema import PendingRow, SegmentRow
from lsr.storage.files import LOCK_FILE, storage_errors, sync_file, sync_tree
from lsr.storage.generation import Generation
from lsr.storage.segment import SEGMENTS_FOLDER

_PIECE: Final = 8 << 20
_LOOK_SECONDS: Final = 0.1  # for segments, which are written in the background


class Known(NamedTuple):
    """What a replica has: its version, the last pending row, and how many deletions of each segment, by its uuid."""

    version: int
    last_row: int
    dead: Mapping[str, int]


class Changes(NamedTuple):
    """How to get from what a replica has to `version`.

    segments  all of them
    dead      the deleted doc_ids, int64[n], of each segment that has more than the replica knows
    live      the row numbers of all live pending documents, int64[n], ascending
    added     the pending documents that the replica does not have
    """

    version: int
    segments: tuple[SegmentRow, ...]
    dead: Mapping[int, NDArray[np.int64]]
    live: NDArray[np.int64]
    added: tuple[PendingRow, ...]


class Problem(NamedTuple):
    """A document that was refused: its position in the batch, and why."""

    position: int
    code: str
    detail: str
    field: str | None

    def error(self) -> InvalidDocument:
        """Return it as the error that it was."""
        return InvalidDocument(self.code, self.detail, field=self.field)


class Written(NamedTuple):
    """A durable change of a shard: its version, the documents that it concerned, those that were refused."""

    version: int
    accepted: int
    problems: tuple[Problem, ...] = ()


class Source(Protocol):
    """What a replica asks of its shard's writer."""

    def changes(self, known: Known, seconds: float) -> Changes | None:
        """Return what has changed, waiting up to `seconds` for it; None for nothing."""
        ...

    def segment_files(self, name: str) -> list[str]:
        """Return the paths of a segment's files in its folder."""
        ...

    def segment_file(self, name: str, file: str, offset: int) -> bytes:
        """Return a piece of a segment's file; empty at its end."""
        ...


class Writer(Source, Protocol):
    """What a router asks of a shard's writer. Each write is durable when it returns."""

    def write(self, documents: Sequence[Document]) -> Written:
        """Upsert documents; invalid ones are reported and left out."""
        ...

    def delete(self, ids: Sequence[str]) -> Written:
        """Delete documents."""
        ...

    def patch(self, identifier: str, metadata: Mapping[str, object]) -> Written | None:
        """Change a document's metadata; None where it does not exist."""
        ...


class ShardWriter:
    """The one writer of a shard. Safe to use from many threads."""

    def __init__(self, published: Path, folder: Path, extend: Extend) -> None:
        """Open the shard's folder, which begins as a copy of the published one; `extend` numbers new terms.

        Raises CollectionLocked where another process writes it, what opening a collection raises, StorageFull.
        """
        copy_collection(published, folder)
        self._collection = Collection.open(folder, "w")
        self._extend = extend
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        configs = {name: vector.config for name, vector in self._collection._state.vectors.items()}
        self._finders = [finder for name, config in configs.items() if (finder := TokenFinder(name, config)).grows]
        for name, config in configs.items():
            if config.encoder == "bm25" and config.settings.get("average_length") is None:
                self._collection.close()
                raise QueryError(
                    f"{name!r} has no average length, which the shards must share: publish at least one document with "
                    "a text before documents are written",
                    field=name,
                )

    def close(self) -> None:
        """Close the collection."""
        self._collection.close()

    def write(self, documents: Sequence[Document]) -> Written:
        """Upsert documents; raises TooManyPending, StorageFull, EncoderError."""
        problems: list[Problem] = []

        def refused(position: int, error: InvalidDocument) -> None:
            problems.append(Problem(position, error.code, error.detail, error.field))

        with self._encoding:
            expected = self._number_terms(documents)
            result = self._collection.write(documents, on_problem=refused)
            self._check_terms(expected)
        self._notify()
        return Written(result.seq, result.accepted, tuple(problems))

    def delete(self, ids: Sequence[str]) -> Written:
        """Delete documents; `accepted` counts those that existed. Raises StorageFull."""
        result = self._collection.delete(ids)
        self._notify()
        return Written(result.seq, result.accepted)

    def patch(self, identifier: str, metadata: Mapping[str, object]) -> Written | None:
        """Change a document's metadata; raises InvalidDocument, TooManyPending, StorageFull."""
        result = self._collection.patch(identifier, metadata)
        self._notify()
        return None if result is None else Written(result.seq, result.accepted)

    def seal(self) -> bool:
        """Write the pending documents to a segment now."""
        return self._collection.seal()

    def changes(self, known: Known, seconds: float) -> Changes | None:
        """Return what has changed since what a replica has, waiting up to `seconds` for it; None for nothing."""
        end = time.monotonic() + seconds
        state = self._collection._state
        while state.generation.seq == known.version:
            left = end - time.monotonic()
            if left <= 0:
                return None
            with self._changed:
                self._changed.wait(min(left, _LOOK_SECONDS))
        with state.changing:  # so that the catalog's rows are those of the generation
            generation = state.generation
            added = state.catalog.pending_after(known.last_row)
        return _changes(generation, known, added)

    def segment_files(self, name: str) -> list[str]:
        """Return the paths of a segment's files in its folder; empty where it is gone."""
        folder = self._segment(name)
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def segment_file(self, name: str, file: str, offset: int) -> bytes:
        """Return a piece of a segment's file from `offset` on, empty at its end; raises LsrError where it is gone."""
        path = self._segment(name) / file
        if ".." in Path(file).parts or Path(file).is_absolute():
            raise LsrError(f"{file!r} is not a file of a segment")
        try:
            with path.open("rb") as opened:
                opened.seek(offset)
                return opened.read(_PIECE)
        except OSError as error:
            raise LsrError(f"{path} cannot be read ({error.strerror})") from error

    def _segment(self, name: str) -> Path:
        return self._collection.path / SEGMENTS_FOLDER / str(uuid.UUID(name))

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _number_terms(self, documents: Sequence[Document]) -> dict[str, int]:
        """Give every new term its number, and return how many terms each vocabulary has now."""
        vectors = growing(self._collection._state.vectors)
        for finder in self._finders:
            vocabulary = vectors[finder.name].vocabulary
            tokens = list(dict.fromkeys(token for one in documents for token in finder.tokens(one)[0]))
            if (vocabulary.ids(tokens) < 0).any():
                learn(vectors[finder.name], self._extend(finder.name, len(vocabulary), tokens))
        return {name: len(vector.vocabulary) for name, vector in vectors.items()}

    def _check_terms(self, expected: Mapping[str, int]) -> None:
        """Raise LsrError where encoding has numbered a term itself."""
        for name, vector in growing(self._collection._state.vectors).items():
            if len(vector.vocabulary) > expected[name]:
                raise LsrError(f"{self._collection.path}: a term of {name!r} has a number of this shard only")


def copy_collection(published: Path, folder: Path) -> None:
    """Make `folder` a copy of a published collection, unless it is one already; segment files are linked if possible.

    Raises StorageFull, and LsrError where the published folder cannot be read.
    """
    if layout.is_collection(folder):
        return
    temporary = folder.with_name(f"{folder.name}.copying-{uuid.uuid4()}")
    with storage_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(published, temporary, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(LOCK_FILE))
            sync_tree(temporary)
            temporary.rename(folder)
            sync_file(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    if SEGMENTS_FOLDER in Path(target).parts:  # they never change
        try:
            os.link(source, target)
        except OSError:
            pass
        else:
            return
    shutil.copy2(source, target)


def _changes(generation: Generation, known: Known, added: Sequence[PendingRow]) -> Changes:
    views = generation.segments
    return Changes(
        generation.seq,
        tuple(view.segment.row for view in views),
        {
            view.segment.row.segment: np.sort(view.dead)
            for view in views
            if len(view.dead) != known.dead.get(view.segment.row.uuid, 0)
        },
        generation.pending.live_rows(),
        tuple(added),
    )
