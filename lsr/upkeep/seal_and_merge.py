"""Sealing and merging: pending documents become segments, and segments are joined. Neither changes a result.

Both have three steps. First the new segment is written, without blocking anything. Then one transaction, under the
lock, puts it in place of its inputs (swapping.py). Last, after the commit, the old files are removed; readers that map
them keep them.

After a write, `wake` checks whether there is enough to do. If so, a thread seals and merges, each segment in a child
process, until the policy is satisfied, and ends. If both are due, they alternate: otherwise the number of segments
would grow without bound when writes arrive as fast as they are sealed.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.sparse import csr_array

from encoders.errors import EncoderError
from lsr.errors import EncoderMismatch
from lsr.metadata import MetadataSchema
from lsr.storage.files import storage_errors
from lsr.storage.generation import Generation, SegmentView
from lsr.storage.live_state import LiveState
from lsr.storage.sample_queries import sample_segments
from lsr.storage.segment import SEGMENTS_FOLDER, TEMPORARY_PREFIX, FinishedSegment
from lsr.upkeep import schema_change, swapping
from lsr.upkeep.free_memory import return_free_memory
from lsr.upkeep.merge_policy import SegmentSize, choose_merge
from lsr.upkeep.scrubbing import damage_taken_out
from lsr.upkeep.segment_jobs import Job, run_job, save_arrays
from lsr.upkeep.segment_process import run_in_child

SEAL_DOCUMENTS = 10_000
SEAL_BYTES = 64 << 20

_log = logging.getLogger(__name__)
_Run = Callable[[Job], FinishedSegment]


class Upkeep:
    """Seals and merges one open collection, one job at a time."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._working = threading.Lock()  # held for a whole seal or merge
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._stopped = False
        self._unlisted: list[Path] = []
        self.last_error: Exception | None = None

    def seal(self) -> bool:
        """Write the pending documents to a segment, in this process; False if there are none."""
        with self._working:
            return self._seal(self._run_here)

    def merge(self) -> bool:
        """Merge all segments, in this process; False if there is nothing to merge or to drop."""
        with self._working:
            views = self._state.generation.segments
            if len(views) < 2 and not any(len(view.dead) for view in views):
                return False
            self._merge(views, self._run_here)
            return True

    def extend_schema(self, fields: Mapping[str, str], search: Any = None) -> MetadataSchema:
        """Add metadata fields; see schema_change.py for the arguments and the errors."""
        with self._working, damage_taken_out(self._state):
            schema, replaced = schema_change.extend_schema(self._state, fields, search, self._listing)
            self._clear(replaced)
        return schema

    def wake(self) -> None:
        """Start the background thread if there is enough to do and it is not running."""
        if not self._has_work():
            return
        with self._starting:
            if not self._stopped and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name=f"upkeep of {self._state.path.name}")
                self._thread.start()

    def wait(self) -> None:
        """Wait until the background thread has ended."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def stop(self) -> None:
        """Stop working. A child that is writing is killed; its partial segment is removed at the next opening."""
        with self._starting:
            self._stopped = True
            child = self._child
            if child is not None:
                child.kill()
        self.wait()

    def _has_work(self) -> bool:
        generation = self._state.generation
        return _is_seal_due(generation) or bool(_next_merge(generation))

    def _work(self) -> None:
        has_sealed = False
        try:
            while not self._stopped:
                with self._working:
                    generation = self._state.generation
                    views = _next_merge(generation)
                    if _is_seal_due(generation) and not (has_sealed and views):
                        self._seal(self._run_in_child)
                        has_sealed = True
                    elif views:
                        self._merge(views, self._run_in_child)
                        has_sealed = False
                    else:
                        return
                return_free_memory()
            # The next write's `wake` finds work that arrives while the last step ends.
        except Exception as error:
            if not self._stopped:
                self.last_error = error
                _log.exception("upkeep of %s failed; the next write starts it again", self._state.path)
        else:
            self.last_error = None

    def _seal(self, run: _Run) -> bool:
        sealed = self._state.generation.pending
        rows = sealed.live_rows()
        if not len(rows):
            return False
        last_row = int(rows[-1])
        finished = run(Job(str(uuid.uuid4()), last_row=last_row))
        with self._listing([finished]):
            swapping.put_sealed(self._state, finished, sealed, last_row)
        return True

    def _merge(self, views: Sequence[SegmentView], run: _Run) -> None:
        if not any(view.live_count for view in views):
            swapping.remove(self._state, views)
            self._clear(views)
            return
        job_uuid = str(uuid.uuid4())
        arrays = self._state.path / SEGMENTS_FOLDER / f"{TEMPORARY_PREFIX}{job_uuid}.npz"
        rows = tuple(view.segment.row for view in views)
        try:
            with damage_taken_out(self._state):
                queries = self._sample_queries(views)
                with storage_errors(arrays):
                    save_arrays(arrays, {view.segment.row.segment: view.dead for view in views}, queries)
                finished = run(Job(job_uuid, inputs=rows, arrays=str(arrays.resolve())))
        finally:
            arrays.unlink(missing_ok=True)
        with self._listing([finished]):
            swapping.put_merged(self._state, finished, views)
        self._clear(views)

    def _sample_queries(self, views: Sequence[SegmentView]) -> dict[str, csr_array]:
        try:
            return sample_segments(views).encode(self._state.vectors)
        except (EncoderError, EncoderMismatch) as error:  # a missing model must not stop a merge
            _log.warning("%s: the merged segment gets no recall targets: %s", self._state.path, error)
            return {}

    @contextlib.contextmanager
    def _listing(self, finished: Sequence[FinishedSegment]) -> Iterator[None]:
        """Remember the folders of segments that could not be listed; remove them when a later one is listed.

        It is not removed at once: after a crash, SQLite may find a transaction that failed on a bad disk complete in
        its log, and then the folder is needed. The next commit rules that out.
        """
        folders = [self._state.path / SEGMENTS_FOLDER / one.uuid for one in finished]
        self._unlisted += folders
        yield
        self._unlisted = [folder for folder in self._unlisted if folder not in folders]
        while self._unlisted:
            shutil.rmtree(self._unlisted.pop(), ignore_errors=True)

    def _clear(self, views: Sequence[SegmentView]) -> None:
        for view in views:
            shutil.rmtree(view.segment.folder, ignore_errors=True)

    def _run_here(self, job: Job) -> FinishedSegment:
        return run_job(self._state.path, job, self._state.shape)

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


def _is_seal_due(generation: Generation) -> bool:
    pending = generation.pending
    return len(pending) >= SEAL_DOCUMENTS or pending.bytes >= SEAL_BYTES


def _next_merge(generation: Generation) -> list[SegmentView]:
    sizes = [SegmentSize(len(view.segment), view.live_count) for view in generation.segments]
    return [generation.segments[at] for at in choose_merge(sizes)]
