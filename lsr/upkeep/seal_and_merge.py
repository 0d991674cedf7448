"""Sealing and merging: pending documents become segments, and segments are joined. Neither changes a result.

Both have three steps. First the new segment is written, without blocking anything. Then one transaction, under the
lock, puts it in place of its inputs (swapping.py). Last, after the commit, the old files are removed; readers that map
them keep them.

After a write, `wake` checks whether there is enough to do. If so, a thread seals and merges, each segment in a child
process, until the policy is satisfied, and ends. If both are due, they alternate: otherwise the number of segments
would grow without bound when writes arrive as fast as they are sealed. When nothing is left to seal or merge, the same
thread saves the sample of queries and measures recall targets on it, where a sample is kept (recall.py).
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoders.errors import EncoderError
from index.searching.calibration import Calibration
from lsr.errors import EncoderMismatch
from lsr.metadata import MetadataSchema
from lsr.storage.files import storage_errors
from lsr.storage.generation import Generation, SegmentView
from lsr.storage.live_state import LiveState
from lsr.storage.query_sample import QuerySample
from lsr.storage.recall_curves import MeasuredCurve
from lsr.storage.sample_queries import REAL_QUERIES, SampleQueries, sample_segments
from lsr.storage.segment import SEGMENTS_FOLDER, TEMPORARY_PREFIX, FinishedSegment
from lsr.upkeep import schema_change, swapping
from lsr.upkeep.free_memory import return_free_memory
from lsr.upkeep.merge_policy import SegmentSize, choose_merge
from lsr.upkeep.recall import ENOUGH, Due, RecallJob, due_curves, measure_curves, store_curves
from lsr.upkeep.scrubbing import damage_taken_out
from lsr.upkeep.segment_jobs import Job, run_job, save_arrays
from lsr.upkeep.segment_process import measure_in_child, run_in_child

SEAL_DOCUMENTS = 10_000
SEAL_BYTES = 64 << 20
RETRY_SECONDS = 600.0  # after a measurement of recall targets that failed

_log = logging.getLogger(__name__)
_Run = Callable[[Job], FinishedSegment]


class Upkeep:
    """Seals and merges one open collection, one job at a time."""

    def __init__(self, state: LiveState, sample: Callable[[], QuerySample | None] = lambda: None) -> None:
        """`sample` returns the collection's sample of queries, None while it keeps none."""
        self._state = state
        self._sample = sample
        self._measured: dict[tuple[int, str], MeasuredCurve] = {}  # also of curves that were measured with the segment
        self._next_measurement = 0.0  # by the monotonic clock
        self.curves_measured = 0
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

    def measure_recall(self) -> int:
        """Measure the recall targets that are due, in this process; return how many curves are new."""
        with self._working:
            due = self._due_curves()
            return self._measure(due, self._measure_here) if due else 0

    def _has_work(self) -> bool:
        generation = self._state.generation
        if _is_seal_due(generation) or _next_merge(generation):
            return True
        sample = self._sample()
        return sample is not None and (sample.is_save_due or bool(self._due_curves()))

    def _due_curves(self) -> list[Due]:
        sample, state = self._sample(), self._state
        if sample is None or time.monotonic() < self._next_measurement:
            return []
        generation = state.generation
        measured: dict[tuple[int, str], MeasuredCurve] = {}
        for view in generation.segments:
            for name, index in view.segment.indexes.items():
                key = (view.segment.row.segment, name)
                if index.calibration is not None:
                    new = MeasuredCurve(generation.document_count, index.calibration)
                    measured[key] = state.curves.get(key) or self._measured.get(key) or new
        self._measured = measured
        return due_curves(generation, sample, measured)

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
                    elif not self._tend_sample():
                        return
                return_free_memory()
            # The next write's `wake` finds work that arrives while the last step ends.
        except Exception as error:
            if not self._stopped:
                self.last_error = error
                _log.exception("upkeep of %s failed; the next write starts it again", self._state.path)
        else:
            self.last_error = None

    def _tend_sample(self) -> bool:
        """Save the sample, and measure what is due; False if there was nothing to do."""
        sample = self._sample()
        if sample is not None and sample.is_save_due:
            sample.save()
        due = self._due_curves()
        if due:
            try:
                self._measure(due, self._measure_in_child)
            except BaseException:
                self._next_measurement = time.monotonic() + RETRY_SECONDS
                raise
        return bool(due)

    def _measure(self, due: list[Due], measure: Callable[[RecallJob], list[Calibration]]) -> int:
        sample = self._sample()
        if sample is None:
            return 0
        with self._job_arrays(f"{TEMPORARY_PREFIX}{uuid.uuid4()}") as arrays:
            queries = {name: SampleQueries(sample.queries(name), REAL_QUERIES) for name in {one.vector for one in due}}
            with storage_errors(arrays):
                save_arrays(arrays, {}, queries)
            job = RecallJob(tuple(due), str(arrays.resolve()))
            with damage_taken_out(self._state):
                curves = measure(job)
        stored = store_curves(self._state, job, curves)
        self.curves_measured += stored
        return stored

    @contextlib.contextmanager
    def _job_arrays(self, name: str) -> Iterator[Path]:
        """Yield the path of a job's file of arrays, which is removed at the end."""
        arrays = self._state.path / SEGMENTS_FOLDER / f"{name}.npz"
        try:
            yield arrays
        finally:
            arrays.unlink(missing_ok=True)

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
        rows = tuple(view.segment.row for view in views)
        with self._job_arrays(f"{TEMPORARY_PREFIX}{job_uuid}") as arrays, damage_taken_out(self._state):
            queries = self._sample_queries(views)
            with storage_errors(arrays):
                save_arrays(arrays, {view.segment.row.segment: view.dead for view in views}, queries)
            finished = run(Job(job_uuid, inputs=rows, arrays=str(arrays.resolve())))
        with self._listing([finished]):
            swapping.put_merged(self._state, finished, views)
        self._clear(views)

    def _sample_queries(self, views: Sequence[SegmentView]) -> dict[str, SampleQueries]:
        """Return queries to measure the merged segment's recall targets on: real ones, if there are enough."""
        sample, vectors = self._sample(), self._state.vectors
        real: dict[str, SampleQueries] = {}
        if sample is not None:
            enough = [name for name in vectors if sample.count(name) >= ENOUGH]
            real = {name: SampleQueries(sample.queries(name), REAL_QUERIES) for name in enough}
        try:
            others = {name: vector for name, vector in vectors.items() if name not in real}
            return {**sample_segments(views).encode(others), **real}
        except (EncoderError, EncoderMismatch) as error:  # a missing model must not stop a merge
            _log.warning("%s: the merged segment gets no recall targets: %s", self._state.path, error)
            return real

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
        try:
            return run_in_child(self._state.path, replace(job, threads=1), self._note_child)
        finally:
            self._forget_child()

    def _measure_here(self, job: RecallJob) -> list[Calibration]:
        return measure_curves(self._state.path, job, self._state.shape)

    def _measure_in_child(self, job: RecallJob) -> list[Calibration]:
        try:
            return measure_in_child(self._state.path, job, self._note_child)
        finally:
            self._forget_child()

    def _note_child(self, child: subprocess.Popen[bytes]) -> None:
        with self._starting:
            self._child = child
            if self._stopped:
                child.kill()

    def _forget_child(self) -> None:
        with self._starting:
            self._child = None


def _is_seal_due(generation: Generation) -> bool:
    pending = generation.pending
    return len(pending) >= SEAL_DOCUMENTS or pending.bytes >= SEAL_BYTES


def _next_merge(generation: Generation) -> list[SegmentView]:
    sizes = [SegmentSize(len(view.segment), view.live_count) for view in generation.segments]
    return [generation.segments[at] for at in choose_merge(sizes)]
