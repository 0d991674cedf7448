"""Writing a segment from a collection's own data: its pending documents, or the live rows of other segments.

A `Job` says which. Besides the collection's folder it is the only input, so the job can run in this process or, passed
as JSON, in another (segment_process.py). Nothing here changes the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lsr.errors import CollectionCorrupt
from lsr.storage.catalog import CATALOG_FILE, Catalog
from lsr.storage.catalog_schema import SegmentRow
from lsr.storage.pending_rows import decode_rows
from lsr.storage.sample_queries import SampleQueries
from lsr.storage.segment import FinishedSegment, Segment, SegmentShape, verify_segment
from lsr.storage.segment_writer import NewSegment, SegmentWriter, write_segment
from lsr.storage.sorted_runs import Quantised, SortedRuns

_BATCH = 4096  # documents read at a time


@dataclass(frozen=True, slots=True)
class Job:
    """A segment to write: all pending documents up to `last_row`, or the live documents of `inputs`.

    `arrays` is the path of a file with the data that is too large for a command line, see `save_arrays`: the deleted
    doc_ids of each input (a merge drops the documents that were deleted when it started; the swap handles later
    deletions), and the queries for measuring recall targets.
    """

    uuid: str
    last_row: int | None = None
    inputs: tuple[SegmentRow, ...] = ()
    arrays: str | None = None
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Job:
        """Return the job that `to_json` has written."""
        inputs = tuple(SegmentRow(**row) for row in values["inputs"])
        return cls(**{**values, "inputs": inputs})


def run_job(collection: Path, job: Job, shape: SegmentShape) -> FinishedSegment:
    """Write the segment; raises StorageFull, CollectionCorrupt. It is on disk, synced, but not in the catalog."""
    new = NewSegment(collection, job.uuid, shape)
    try:
        dead, queries = load_arrays(job.arrays)
        if job.last_row is None:
            return _merge(new, job, dead, queries)
        writer = SegmentWriter(new)
        _add_pending(writer, collection, job.last_row, shape)
        return writer.finish(job.threads, queries)
    except BaseException:
        new.abandon()
        raise


def save_arrays(path: Path, dead: Mapping[int, NDArray[np.int64]], queries: Mapping[str, SampleQueries]) -> None:
    """Write a job's file `arrays`: the deleted doc_ids by segment number, encoded queries by vector name."""
    arrays: dict[str, Any] = {f"dead {segment}": doc_ids for segment, doc_ids in dead.items()}
    for name, (matrix, source) in queries.items():
        arrays[f"source {name}"] = np.array(source)
        arrays |= {f"{part} {name}": getattr(matrix, part) for part in ("data", "indices", "indptr", "shape")}
    np.savez(path, **arrays)


def load_arrays(path: str | None) -> tuple[dict[int, NDArray[np.int64]], dict[str, SampleQueries]]:
    """Return what `save_arrays` wrote; nothing for None."""
    if path is None:
        return {}, {}
    dead, queries = {}, {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays:
            part, _, name = key.partition(" ")
            if part == "dead":
                dead[int(name)] = arrays[key]
            elif part == "shape":
                parts = (arrays[f"data {name}"], arrays[f"indices {name}"], arrays[f"indptr {name}"])
                matrix = csr_array(parts, shape=tuple(arrays[key].tolist()))
                queries[name] = SampleQueries(matrix, str(arrays[f"source {name}"]))
    return dead, queries


def _add_pending(writer: SegmentWriter, collection: Path, last_row: int, shape: SegmentShape) -> None:
    catalog = Catalog.open(collection / CATALOG_FILE, "r")
    try:
        # One read transaction: it sees exactly one version of a document that is replaced meanwhile.
        with catalog.reading():
            rows = catalog.pending(last_row)
            while batch := list(islice(rows, _BATCH)):
                writer.add(*decode_rows(batch, list(shape.indexes), shape.dense))
    finally:
        catalog.close()


def _merge(
    new: NewSegment, job: Job, dead: Mapping[int, NDArray[np.int64]], queries: Mapping[str, SampleQueries]
) -> FinishedSegment:
    inputs = []
    for row in job.inputs:
        # The copied data gets a new checksum, so damage must be found first.
        for problem in verify_segment(new.collection, row):
            raise CollectionCorrupt(problem.path, problem.reason)
        segment = Segment(new.collection, row, new.shape)
        live = np.ones(len(segment), dtype=np.bool_)
        live[dead.get(row.segment, np.empty(0, np.int64))] = False
        inputs.append(_Input(segment, live))
    return write_segment(new, SortedRuns(inputs), job.threads, queries)


@dataclass(frozen=True, slots=True)
class _Input:
    """A segment as a `Run`."""

    segment: Segment
    live: NDArray[np.bool_]

    @property
    def ids(self) -> pa.ChunkedArray[Any]:
        return self.segment.documents.table.column("id")

    def table(self, start: int, stop: int) -> pa.Table:
        return self.segment.documents.table.slice(start, stop - start)

    def vectors(self, name: str, start: int, stop: int) -> csr_array:
        return self.segment.indexes[name].rows(start, stop)

    def dense(self, name: str, start: int, stop: int) -> Quantised:
        return self.segment.dense[name].rows(start, stop)
