"""A replica of a shard that is written: it starts from the published shard and follows the shard's writer.

A thread asks the writer for changes and makes a new generation of each answer, so a version is complete or not there. A
search reads one version: those that a search has begun with stay for a while. `least` makes a question wait until the
replica has reached a version: so a router reads what it has written, and never an older state than it has seen.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from index import DenseRows, PreparedRows
from index.errors import SearchStopped
from lsr.dense_vectors import DenseVector
from lsr.errors import CollectionCorrupt, ShardUnavailable
from lsr.metadata import MetadataSchema
from lsr.sharding.asking import VersionGone
from lsr.sharding.live_shard import Changes, Known, Source
from lsr.sharding.shard import ShardReader
from lsr.storage.catalog import Catalog
from lsr.storage.catalog_schema import SegmentRow
from lsr.storage.generation import Generation, SegmentView
from lsr.storage.live_state import LiveState, open_to_read
from lsr.storage.pending import ChunkContent, Pending, columns_of
from lsr.storage.pending_rows import decode_rows
from lsr.storage.segment import SEGMENTS_FOLDER, Segment, verify_segment
from lsr.vectors import NamedVector

_logger = logging.getLogger("lsr.cluster")
_POLL_SECONDS: Final = 2.0  # of one question to the writer, which answers as soon as something changes
_RETRY_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 30.0  # for a version, of an operation without a deadline
_KEPT_SECONDS: Final = 60.0  # of a version that a search has begun with
_KEPT_VERSIONS: Final = 1000


@dataclass(frozen=True)
class ShardVersion:
    """A shard's state at one version, as a ShardReader reads it."""

    base: LiveState
    generation: Generation

    @property
    def vectors(self) -> Mapping[str, NamedVector]:
        """The sparse vectors."""
        return self.base.vectors

    @property
    def dense(self) -> Mapping[str, DenseVector]:
        """The dense vectors."""
        return self.base.dense

    @property
    def search(self) -> Any:
        """The search defaults."""
        return self.base.search

    @property
    def schema(self) -> MetadataSchema:
        """The metadata fields."""
        return self.generation.schema

    @property
    def catalog(self) -> Catalog:
        """The catalog of the published shard."""
        return self.base.catalog


class LiveReader:
    """Answers a shard's operations from the versions that it has. Safe to use from many threads."""

    def __init__(self, published: Path, scratch: Path, source: Source) -> None:
        """`scratch` is a folder of its own, for segments that the writer has made. Raises as opening a shard does."""
        self._base = open_to_read(published)
        self._scratch = scratch
        self._source = source
        self._published = self._base.generation.document_count
        self._last_row = int(max(self._base.generation.pending.live_rows(), default=0))
        self._versions: OrderedDict[int, tuple[ShardReader, float]] = OrderedDict()
        self._current = self._reader(self._base.generation)
        self._version = self._base.generation.seq
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="shard-follow", daemon=True)
        self._thread.start()

    @property
    def version(self) -> int:
        """The latest version."""
        return self._version

    @property
    def newest(self) -> ShardReader:
        """The reader of the latest version."""
        return self._current

    def close(self) -> None:
        """Stop following, and remove the copied segments."""
        self._ended.set()
        self._thread.join(_POLL_SECONDS + 5)
        self._base.catalog.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def answer(
        self, operation: str, arguments: Sequence[Any], seconds: float | None, version: int | None, least: int
    ) -> tuple[Any, int]:
        """Run an operation on a version, or on the latest one, which must have reached `least`.

        Raises VersionGone for a version that is not kept; where `least` is not reached in time, SearchStopped, or
        ShardUnavailable without a deadline.
        """
        began = time.monotonic()
        number, reader = self._find(version, least, seconds)
        if seconds is not None:
            seconds = max(seconds - (time.monotonic() - began), 0.0)
        return reader.run(operation, arguments, seconds), number

    def _find(self, version: int | None, least: int, seconds: float | None) -> tuple[int, ShardReader]:
        with self._changed:
            if version is None:
                limit = _PATIENCE_SECONDS if seconds is None else seconds
                if not self._changed.wait_for(lambda: self._version >= least, limit):
                    if seconds is not None:
                        raise SearchStopped("the search was stopped: a replica has not the latest writes yet")
                    raise ShardUnavailable(f"a replica has version {self._version} and not {least}: its writer is gone")
                version, found = self._version, self._current
            elif version == self._version:
                found = self._current
            elif version in self._versions:
                found = self._versions[version][0]
            else:
                raise VersionGone(f"version {version} of the shard is not kept any longer")
            self._versions[version] = (found, time.monotonic())
            self._versions.move_to_end(version)
            return version, found

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                found = self._source.changes(self._known(), _POLL_SECONDS)
                if found is not None:
                    self._apply(found)
            except Exception as error:  # the writer is restarted, or a segment was merged away while it was copied
                if not self._ended.is_set():
                    _logger.warning("following the writer of %s: %r", self._base.path, error)
                self._ended.wait(_RETRY_SECONDS)

    def _known(self) -> Known:
        views = self._current.space.generation.segments
        dead = {view.segment.row.uuid: len(view.dead) for view in views}
        return Known(self._version, self._last_row, dead)

    def _apply(self, found: Changes) -> None:
        before = self._current.space.generation
        known = {view.segment.row: view for view in before.segments}
        views = []
        for row in found.segments:
            view = known.get(row) or SegmentView.of(self._segment(row), np.empty(0, np.int64))
            if row.segment in found.dead:
                view = view.without(np.setdiff1d(found.dead[row.segment], view.dead))
            views.append(view)
        gone = np.setdiff1d(before.pending.live_rows(), found.live)
        pending = self._added(before.pending.without_rows(gone), found)
        generation = replace(before, seq=found.version, segments=tuple(views), pending=pending)
        reader = self._reader(generation)
        last = max((row.row for row in found.added), default=0)
        with self._changed:
            self._last_row = max(self._last_row, last)
            self._current, self._version = reader, found.version
            self._forget_old()
            self._changed.notify_all()
        self._remove_files(found)

    def _added(self, pending: Pending, found: Changes) -> Pending:
        live = set(found.live.tolist())
        rows = [row for row in found.added if row.row in live]
        if not rows:
            return pending
        base = self._base
        documents, matrices, quantised = decode_rows(rows, list(base.vectors), base.shape.dense)
        vectors = {name: PreparedRows.of(matrices[name], dtype) for name, dtype in base.impact_dtypes.items()}
        dense = {name: DenseRows(*values) for name, values in quantised.items()}
        numbers = np.array([row.row for row in rows], dtype=np.int64)
        columns = columns_of(documents, base.generation.schema)
        return pending.add(ChunkContent(numbers, documents, vectors, columns, dense))

    def _segment(self, row: SegmentRow) -> Segment:
        """Open a segment: one that was published, or a copy of the writer's, whose every byte is checked."""
        if (self._base.path / SEGMENTS_FOLDER / row.uuid).is_dir():
            return self._base.open_segment(row)
        folder = self._scratch / SEGMENTS_FOLDER / row.uuid
        if not folder.is_dir():
            self._copy(row)
        return Segment(self._scratch, row, self._base.shape)

    def _copy(self, row: SegmentRow) -> None:
        parent = self._scratch / "copying"
        shutil.rmtree(parent, ignore_errors=True)
        folder = parent / SEGMENTS_FOLDER / row.uuid
        for name in self._source.segment_files(row.uuid):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while piece := self._source.segment_file(row.uuid, name, file.tell()):
                    file.write(piece)
        problems = list(verify_segment(parent, row))
        if problems:
            raise CollectionCorrupt(problems[0].path, f"{problems[0].reason}: it is copied again")
        final = self._scratch / SEGMENTS_FOLDER / row.uuid
        final.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(final)

    def _remove_files(self, found: Changes) -> None:
        """Remove copied segments that were merged away; versions that read them keep their files mapped."""
        used = {row.uuid for row in found.segments}
        folder = self._scratch / SEGMENTS_FOLDER
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in used:
                shutil.rmtree(path, ignore_errors=True)

    def _forget_old(self) -> None:
        end = time.monotonic() - _KEPT_SECONDS
        old = [number for number, (_, used) in self._versions.items() if used < end and number != self._version]
        for number in old:
            del self._versions[number]
        while len(self._versions) > _KEPT_VERSIONS:
            self._versions.popitem(last=False)

    def _reader(self, generation: Generation) -> ShardReader:
        return ShardReader(ShardVersion(self._base, generation), published=self._published)
