"""Writing a segment's folder: `write_segment` from documents in order, `SegmentWriter` from documents in any order.

`SegmentWriter` sorts its documents in runs of tens of megabytes of text. The texts of all runs but the last go to a
temporary file, the vectors stay in memory. A segment is written under a temporary name and renamed when it is
completely synced.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import DenseRows, SparseIndex
from lsr.documents import Document
from lsr.storage.document_file import DOCUMENTS_FILE, DocumentFile, DocumentFileWriter, documents_table
from lsr.storage.files import publish, sha256_of, storage_errors, write_file
from lsr.storage.id_file import IDS_FILE, hash_ids, write_id_file
from lsr.storage.sample_queries import SampleQueries
from lsr.storage.segment import (
    INDEX_MANIFEST,
    MANIFEST_FILE,
    SEGMENTS_FOLDER,
    TEMPORARY_PREFIX,
    FinishedSegment,
    SegmentShape,
)
from lsr.storage.sorted_runs import Quantised, SortedRuns, join_rows, take_rows, with_small_indices

_RUNS_FILE = "runs.arrow"
_RUN_BYTES = 64 << 20  # of texts sorted together


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment that is being written: its place, and its collection's settings."""

    collection: Path
    uuid: str
    shape: SegmentShape

    @property
    def final(self) -> Path:
        """The folder's name once it is complete."""
        return self.collection / SEGMENTS_FOLDER / self.uuid

    @property
    def folder(self) -> Path:
        """The folder's name until then."""
        return self.final.with_name(TEMPORARY_PREFIX + self.uuid)

    def abandon(self) -> None:
        """Remove what was written; does nothing to a complete segment."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_segment(
    new: NewSegment,
    documents: SortedRuns,
    threads: int | None = None,
    queries: Mapping[str, SampleQueries] | None = None,
) -> FinishedSegment:
    """Write all files, the manifest last, sync and publish; the folder may exist. Raises StorageFull, VectorError.

    queries  by vector name: encoded queries for measuring the recall targets, see SparseIndex.calibrate
    """
    with storage_errors(new.folder):
        (new.folder / "vectors").mkdir(parents=True)
        write_id_file(new.folder / IDS_FILE, _write_documents(new, documents))
        counts = {}
        for name, config in new.shape.indexes.items():
            folder, sample = new.folder / "vectors" / name, (queries or {}).get(name)
            rows, source = (None, None) if sample is None else sample
            index = SparseIndex.build(
                documents.vectors(name), config, path=folder, threads=threads, queries=rows, source=source
            )
            counts[name] = {"documents": index.n_docs, "postings": index.nnz}
        for name, dims in new.shape.dense.items():
            DenseRows.build(documents.dense(name), dims, new.folder / "vectors" / name)
        write_file(new.folder / MANIFEST_FILE, _manifest(new, len(documents), counts))
        publish(new.folder, new.final)
    return FinishedSegment(new.uuid, len(documents), sha256_of(new.final / MANIFEST_FILE))


class SegmentWriter:
    """Collects documents and writes them as one segment. The caller must ensure that ids are distinct."""

    def __init__(self, new: NewSegment) -> None:
        self.text_bytes = 0
        self.postings = 0
        self.dense_bytes = 0
        self._new = new
        self._count = 0
        self._current = _Unsorted(new.shape)
        self._finished: list[tuple[int, _SortedVectors]] = []  # documents and vectors of each run in the file
        self._file: DocumentFileWriter | None = None
        with storage_errors(new.folder):
            new.folder.mkdir(parents=True)

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        documents: Sequence[Document],
        vectors: Mapping[str, csr_array],
        dense: Mapping[str, Quantised] | None = None,
    ) -> None:
        """Add checked documents with one row each in every named matrix; raises StorageFull."""
        dense = dense or {}
        table = documents_table(documents, self._new.shape.schema)
        self._current.add(table, vectors, dense)
        self._count += len(documents)
        self.text_bytes += table.nbytes
        self.postings += sum(vectors[name].nnz for name in self._new.shape.indexes)
        self.dense_bytes += sum(dense[name][0].nbytes for name in self._new.shape.dense)
        if self._current.bytes >= _RUN_BYTES:
            self._write_run()

    def finish(self, threads: int | None = None, queries: Mapping[str, SampleQueries] | None = None) -> FinishedSegment:
        """Write and publish the segment, see `write_segment`; raises StorageFull, VectorError."""
        runs = []
        if self._file is not None:
            with storage_errors(self._new.folder):
                self._file.close()
            path = self._new.folder / _RUNS_FILE
            table, start = DocumentFile(path, self._new.shape.schema).table, 0
            path.unlink()  # it is mapped, and is gone with that
            for length, vectors in self._finished:
                runs.append(_SortedRun(table.slice(start, length), vectors))
                start += length
        if self._current.bytes:
            runs.append(self._current.sorted())
        return write_segment(self._new, SortedRuns(runs), threads, queries)

    def abandon(self) -> None:
        """Remove what was written; does nothing after `finish`."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk may also refuse the file's last bytes
                self._file.close()
        self._new.abandon()

    def _write_run(self) -> None:
        run = self._current.sorted()
        with storage_errors(self._new.folder):
            if self._file is None:
                self._file = DocumentFileWriter(self._new.folder / _RUNS_FILE, self._new.shape.schema)
            self._file.append(run.documents)
        self._finished.append((len(run.documents), run.held))
        self._current = _Unsorted(self._new.shape)


@dataclass(frozen=True, slots=True)
class _SortedVectors:
    """The vectors of some documents by name."""

    sparse: dict[str, csr_array]
    dense: dict[str, Quantised]


@dataclass(frozen=True, slots=True)
class _SortedRun:
    """A `Run` whose documents are all live."""

    documents: pa.Table
    held: _SortedVectors

    @property
    def ids(self) -> pa.ChunkedArray[Any]:
        return self.documents.column("id")

    @property
    def live(self) -> None:
        return None

    def table(self, start: int, stop: int) -> pa.Table:
        return self.documents.slice(start, stop - start)

    def vectors(self, name: str, start: int, stop: int) -> csr_array:
        return self.held.sparse[name][start:stop]

    def dense(self, name: str, start: int, stop: int) -> Quantised:
        values, scale = self.held.dense[name]
        return values[start:stop], scale[start:stop]


class _Unsorted:
    """Documents in the order in which they were added."""

    def __init__(self, shape: SegmentShape) -> None:
        self.bytes = 0
        self._tables: list[pa.Table] = []
        self._parts: dict[str, list[csr_array]] = {name: [] for name in shape.indexes}
        self._dense: dict[str, list[Quantised]] = {name: [] for name in shape.dense}

    def add(self, table: pa.Table, vectors: Mapping[str, csr_array], dense: Mapping[str, Quantised]) -> None:
        self.bytes += table.nbytes
        self._tables.append(table)
        for name, parts in self._parts.items():
            parts.append(with_small_indices(vectors[name]))
        for name, blocks in self._dense.items():
            blocks.append(dense[name])

    def sorted(self) -> _SortedRun:
        """Return them by ascending id, and release them here."""
        table = pa.concat_tables(self._tables).combine_chunks()
        order = pc.sort_indices(table.column("id")).to_numpy().astype(np.int64)
        matrices = {}
        for name, parts in self._parts.items():
            matrices[name] = take_rows(join_rows(parts), order)
            parts.clear()
        dense = {}
        for name, blocks in self._dense.items():
            values, scale = (np.concatenate(arrays)[order] for arrays in zip(*blocks, strict=True))
            dense[name] = values, scale
            blocks.clear()
        self._tables.clear()
        return _SortedRun(table.take(order), _SortedVectors(matrices, dense))


def _write_documents(new: NewSegment, documents: SortedRuns) -> NDArray[np.uint64]:
    """Write documents.arrow and return the hash of each external id."""
    hashes = [np.empty(0, np.uint64)]
    with DocumentFileWriter(new.folder / DOCUMENTS_FILE, new.shape.schema) as writer:
        for table in documents.tables():
            writer.append(table)
            hashes.append(hash_ids([str(identifier) for identifier in table.column("id").to_pylist()]))
    return np.concatenate(hashes)


def _manifest(new: NewSegment, documents: int, vectors: Mapping[str, Mapping[str, int]]) -> bytes:
    named = [*new.shape.indexes, *new.shape.dense]
    names = [DOCUMENTS_FILE, IDS_FILE, *(f"vectors/{name}/{INDEX_MANIFEST}" for name in named)]
    files = {
        name: {"bytes": (new.folder / name).stat().st_size, "sha256": sha256_of(new.folder / name)} for name in names
    }
    content = {
        "format": "lsr-segment",
        "format_version": new.shape.format_version,
        "uuid": new.uuid,
        "documents": documents,
        "vectors": vectors,
        "files": files,
    }
    if new.shape.dense:
        content["dense"] = {name: {"dimensions": dims} for name, dims in new.shape.dense.items()}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
