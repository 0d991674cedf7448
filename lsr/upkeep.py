"""Sealing and merging: pending documents become segments, segments become fewer. No result changes by it.

Both go in three steps. The new segment is written from what is there, without holding anything up; under the lock one
transaction puts it in place of what it was made from; what was deleted or replaced in the meantime is marked as deleted
in the new segment by that same transaction. Old files are removed after the commit: readers that map them keep them.

After a write, `wake` looks whether there is enough to do; then a thread seals and merges, each segment in a child
process, until the policy is satisfied, and ends.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lsr.live_state import LiveState
from lsr.storage.files import storage_errors
from lsr.storage.generation import Generation, SegmentView
from lsr.storage.id_file import hash_ids
from lsr.storage.merge_policy import SegmentSize, choose_merge
from lsr.storage.sealing import Job, run_job, save_dead
from lsr.storage.segment import SEGMENTS_FOLDER, TEMPORARY_PREFIX, FinishedSegment
from lsr.storage.segment_process import run_in_child

SEAL_DOCUMENTS = 10_000
SEAL_BYTES = 64 << 20

_log = logging.getLogger(__name__)
_NOTHING = np.empty(0, np.int64)
_Run = Callable[[Job], FinishedSegment]


class Upkeep:
    """Keeps one open collection in shape. One seal or merge is under way at a time."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._working = threading.Lock()  # held for a whole seal or merge
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._stopped = False
        self.last_error: Exception | None = None

    def seal(self) -> bool:
        """Put the pending documents into a segment, in this process; False when there are none."""
        with self._working:
            return self._seal(self._run_here)

    def merge(self) -> bool:
        """Join all segments, in this process; False when there is nothing to join or to drop."""
        with self._working:
            views = self._state.generation.segments
            if len(views) < 2 and not any(len(view.dead) for view in views):
                return False
            self._merge(views, self._run_here)
            return True

    def wake(self) -> None:
        """Start working in the background if there is enough to do and nobody works yet."""
        if not self._has_work():
            return
        with self._starting:
            if not self._stopped and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name=f"upkeep of {self._state.path.name}")
                self._thread.start()

    def wait(self) -> None:
        """Return when nobody works in the background."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def stop(self) -> None:
        """Stop working; a child that is writing is killed, its half segment is removed at the next opening."""
        with self._starting:
            self._stopped = True
            child = self._child
            if child is not None:
                child.kill()
        self.wait()

    def _has_work(self) -> bool:
        generation = self._state.generation
        pending = generation.pending
        return len(pending) >= SEAL_DOCUMENTS or pending.bytes >= SEAL_BYTES or bool(_next_merge(generation))

    def _work(self) -> None:
        try:
            while not self._stopped:
                with self._working:
                    pending = self._state.generation.pending
                    if len(pending) >= SEAL_DOCUMENTS or pending.bytes >= SEAL_BYTES:
                        self._seal(self._run_in_child)
                    elif views := _next_merge(self._state.generation):
                        self._merge(views, self._run_in_child)
                    else:
                        return
            # What comes in while the last step ends is found by the next write's `wake`.
        except Exception as error:
            if not self._stopped:
                self.last_error = error
                _log.exception("upkeep of %s failed; it is tried again after the next write", self._state.path)
        else:
            self.last_error = None

    def _seal(self, run: _Run) -> bool:
        rows = self._state.generation.pending.live_rows()
        if not len(rows):
            return False
        last_row = int(rows[-1])
        self._put_sealed(run(Job(str(uuid.uuid4()), last_row=last_row)), last_row)
        return True

    def _put_sealed(self, finished: FinishedSegment, last_row: int) -> None:
        state = self._state
        segment = state.open_segment(finished.row(0))
        ids = segment.documents.all_ids()
        with state.changing:
            before = state.generation
            # A pending row up to last_row is the version that was sealed; where there is none any more, the document
            # was replaced or deleted since.
            alive = before.pending.live_ids(last_row)
            dead = np.array([doc_id for doc_id, identifier in enumerate(ids) if identifier not in alive], np.int64)
            rows = before.pending.live_rows()
            rows = rows[rows <= last_row]
            with state.catalog.transaction() as change:
                number = change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
                change.add_deletions(number, dead)
                change.remove_pending(rows.tolist())
                seq = change.seq
            segment.row = finished.row(number)
            view = SegmentView.of(segment, dead)
            state.generation = Generation(seq, (*before.segments, view), before.pending.without_rows(rows))

    def _merge(self, views: Sequence[SegmentView], run: _Run) -> None:
        if not any(view.live_count for view in views):
            self._remove(views)
            return
        job_uuid = str(uuid.uuid4())
        dead_file = self._state.path / SEGMENTS_FOLDER / f"{TEMPORARY_PREFIX}{job_uuid}.npz"
        rows = tuple(view.segment.row for view in views)
        try:
            with storage_errors(dead_file):
                save_dead(dead_file, {view.segment.row.segment: view.dead for view in views})
            finished = run(Job(job_uuid, inputs=rows, dead=str(dead_file.resolve())))
        finally:
            dead_file.unlink(missing_ok=True)
        self._put_merged(finished, views)
        for view in views:
            shutil.rmtree(view.segment.folder, ignore_errors=True)

    def _remove(self, views: Sequence[SegmentView]) -> None:
        """Drop segments in which every document is deleted."""
        numbers = {view.segment.row.segment for view in views}
        state = self._state
        with state.changing:
            before = state.generation
            with state.catalog.transaction() as change:
                for number in numbers:
                    change.remove_segment(number)
                seq = change.seq
            kept = tuple(view for view in before.segments if view.segment.row.segment not in numbers)
            state.generation = Generation(seq, kept, before.pending)
        for view in views:
            shutil.rmtree(view.segment.folder, ignore_errors=True)

    def _put_merged(self, finished: FinishedSegment, views: Sequence[SegmentView]) -> None:
        state = self._state
        segment = state.open_segment(finished.row(0))
        began_with = {view.segment.row.segment: len(view.dead) for view in views}
        with state.changing:
            before = state.generation
            dead = _deleted_since(before, began_with, segment.find)
            with state.catalog.transaction() as change:
                for number in began_with:
                    change.remove_segment(number)
                number = change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
                change.add_deletions(number, dead)
                seq = change.seq
            segment.row = finished.row(number)
            others = tuple(view for view in before.segments if view.segment.row.segment not in began_with)
            state.generation = Generation(seq, (*others, SegmentView.of(segment, dead)), before.pending)

    def _run_here(self, job: Job) -> FinishedSegment:
        return run_job(self._state.path, job, self._state.schema, self._state.index_configs)

    def _run_in_child(self, job: Job) -> FinishedSegment:
        def note(child: subprocess.Popen[bytes]) -> None:
            with self._starting:
                self._child = child
                if self._stopped:
                    child.kill()

        try:
            return run_in_child(self._state.path, replace(job, threads=1), note)
        finally:
            with self._starting:
                self._child = None


def _next_merge(generation: Generation) -> list[SegmentView]:
    sizes = [SegmentSize(len(view.segment), view.live_count) for view in generation.segments]
    return [generation.segments[at] for at in choose_merge(sizes)]


def _deleted_since(
    generation: Generation,
    began_with: dict[int, int],
    find: Callable[[list[str], NDArray[np.uint64]], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """Return the merged segment's doc_ids of what was deleted while it was written.

    `began_with` counts the deletions of each input when the merge began: later ones follow in the order of `dead`.
    """
    found = []
    for view in generation.segments:
        since = view.dead[began_with.get(view.segment.row.segment, len(view.dead)) :]
        if len(since):
            ids = view.segment.documents.ids(since)
            found.append(find(ids, hash_ids(ids)))
    return np.sort(np.concatenate(found)) if found else _NOTHING
