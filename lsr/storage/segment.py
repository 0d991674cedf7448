"""A segment: an immutable folder that holds some of a collection's documents, their vectors and their texts.

    segments/<uuid>/manifest.json     counts, and each file's size and SHA-256
                    documents.arrow   texts and metadata, see document_file.py
                    ids.npy           external id -> doc_id, see id_file.py
                    vectors/<name>/   one SparseIndex for each named vector

Documents are numbered by rising external id. So the index's rule for equal scores, doc_id rising, is the collection's
rule, external id rising; and an index that returns k documents returns the right k of those that tie.

`SegmentWriter` takes documents in any order. Texts go to a temporary file at once and are sorted at the end, batch by
batch; vectors wait in memory. A segment is written under a temporary name and renamed when all of it is synced.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import IndexConfig, Problem, SparseIndex, verify_index
from lsr.documents import Document
from lsr.errors import CollectionCorrupt
from lsr.metadata import MetadataSchema
from lsr.storage.catalog_schema import SegmentRow
from lsr.storage.document_file import DOCUMENTS_FILE, DocumentFile, DocumentFileWriter, documents_table
from lsr.storage.files import OnRead, publish, sha256_of, storage_errors, write_file
from lsr.storage.id_file import IDS_FILE, IdFile, hash_ids, write_id_file
from lsr.storage.sparse_rows import join_rows, take_rows, with_small_indices

SEGMENTS_FOLDER = "segments"
TEMPORARY_PREFIX = "writing-"
MANIFEST_FILE = "manifest.json"
INDEX_MANIFEST = "manifest.json"
SEGMENT_FORMAT_VERSION = 1

_UNSORTED_FILE = "documents.unsorted.arrow"
_SORT_BATCH = 8192  # rows; a batch of texts in memory while the document file is sorted


@dataclass(frozen=True, slots=True)
class FinishedSegment:
    """What the catalog needs to list a segment that lies on disk, synced, under its final name."""

    uuid: str
    documents: int
    manifest_sha256: str

    def row(self, number: int) -> SegmentRow:
        """Return its row in the catalog under this number."""
        return SegmentRow(number, self.uuid, self.documents, self.manifest_sha256)


class SegmentWriter:
    """Collects documents and writes them as one segment. Ids must be distinct; the caller sees to it."""

    def __init__(self, collection: Path, schema: MetadataSchema, indexes: Mapping[str, IndexConfig], uuid: str) -> None:
        """`collection` is its folder; `indexes` has an entry for every named vector; `uuid` is new."""
        self.uuid = uuid
        self._final = collection / SEGMENTS_FOLDER / self.uuid
        self._folder = self._final.with_name(TEMPORARY_PREFIX + self.uuid)
        self._schema = schema
        self._indexes = dict(indexes)
        self._ids: list[str] = []
        self._parts: dict[str, list[csr_array]] = {name: [] for name in indexes}
        self.text_bytes = 0
        self.postings = 0
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True)
            self._texts = DocumentFileWriter(self._folder / _UNSORTED_FILE, schema)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, documents: Sequence[Document], vectors: Mapping[str, csr_array]) -> None:
        """Add checked documents with one row each in every named matrix; raises StorageFull."""
        self.add_table(documents_table(documents, self._schema), vectors)

    def add_table(self, table: pa.Table, vectors: Mapping[str, csr_array]) -> None:
        """Add rows that have the columns of documents.arrow; raises StorageFull."""
        with storage_errors(self._folder):
            self._texts.append(table)
        self._ids.extend(map(str, table.column("id").to_pylist()))
        self.text_bytes += table.nbytes
        for name, parts in self._parts.items():
            matrix = vectors[name]
            parts.append(with_small_indices(matrix))
            self.postings += matrix.nnz

    def finish(self, threads: int | None = None, queries: Mapping[str, csr_array] | None = None) -> FinishedSegment:
        """Sort, build the indexes, write the manifest, sync and publish; raises StorageFull, VectorError.

        queries  for named vectors: encoded queries that the recall targets are measured on, see SparseIndex.calibrate
        """
        ids = pa.array(self._ids, pa.large_string())
        order = pc.sort_indices(ids).to_numpy().astype(np.int64)
        with storage_errors(self._folder):
            self._texts.close()
            self._write_texts(order)
            write_id_file(self._folder / IDS_FILE, hash_ids([self._ids[row] for row in order]))
            counts = {name: self._build(name, order, threads, (queries or {}).get(name)) for name in self._indexes}
            manifest = self._manifest(counts)
            write_file(self._folder / MANIFEST_FILE, manifest)
            publish(self._folder, self._final)
        return FinishedSegment(self.uuid, len(self._ids), sha256_of(self._final / MANIFEST_FILE))

    def abandon(self) -> None:
        """Remove what was written; harmless after `finish`."""
        with contextlib.suppress(OSError):  # a full disk refuses the file's last bytes, too
            self._texts.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write_texts(self, order: NDArray[np.int64]) -> None:
        unsorted = self._folder / _UNSORTED_FILE
        if np.array_equal(order, np.arange(len(order))):
            unsorted.rename(self._folder / DOCUMENTS_FILE)
            return
        table = DocumentFile(unsorted, self._schema).table
        with DocumentFileWriter(self._folder / DOCUMENTS_FILE, self._schema) as writer:
            for start in range(0, len(order), _SORT_BATCH):
                writer.append(table.take(order[start : start + _SORT_BATCH]))
        unsorted.unlink()

    def _build(
        self, name: str, order: NDArray[np.int64], threads: int | None, queries: csr_array | None
    ) -> dict[str, int]:
        matrix = join_rows(self._parts[name])
        self._parts[name].clear()
        starts = range(0, max(len(order), 1), _SORT_BATCH)
        batches = (take_rows(matrix, order[start : start + _SORT_BATCH]) for start in starts)
        folder = self._folder / "vectors" / name
        folder.parent.mkdir(exist_ok=True)
        index = SparseIndex.build(batches, self._indexes[name], path=folder, threads=threads, queries=queries)
        return {"documents": index.n_docs, "postings": index.nnz}

    def _manifest(self, vectors: Mapping[str, Mapping[str, int]]) -> bytes:
        names = [DOCUMENTS_FILE, IDS_FILE, *(f"vectors/{name}/{INDEX_MANIFEST}" for name in self._indexes)]
        files = {
            name: {"bytes": (self._folder / name).stat().st_size, "sha256": sha256_of(self._folder / name)}
            for name in names
        }
        content = {
            "format": "lsr-segment",
            "format_version": SEGMENT_FORMAT_VERSION,
            "uuid": self.uuid,
            "documents": len(self._ids),
            "vectors": vectors,
            "files": files,
        }
        return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


class Segment:
    """An open segment. Immutable, safe to use from many threads; its files are mapped, not read."""

    def __init__(self, collection: Path, row: SegmentRow, schema: MetadataSchema, vectors: Sequence[str]) -> None:
        """Open and check what could make a reader leave its arrays; raises CollectionCorrupt, IndexCorrupt."""
        self.row = row
        self.folder = collection / SEGMENTS_FOLDER / row.uuid
        self.manifest = _read_manifest(self.folder, row)
        for name, entry in self.manifest["files"].items():
            _check_size(self.folder / name, entry["bytes"])
        self.documents = DocumentFile(self.folder / DOCUMENTS_FILE, schema)
        if len(self.documents) != row.documents:
            raise CollectionCorrupt(
                self.folder / DOCUMENTS_FILE, f"has {len(self.documents)} rows instead of {row.documents}"
            )
        self._ids = IdFile(self.folder / IDS_FILE, row.documents)
        self.indexes: dict[str, SparseIndex] = {}
        for name in vectors:
            index = SparseIndex.open(self.folder / "vectors" / name)
            if index.n_docs != row.documents:
                raise CollectionCorrupt(
                    self.folder / "vectors" / name, f"has {index.n_docs} documents instead of {row.documents}"
                )
            self.indexes[name] = index

    def __len__(self) -> int:
        return self.row.documents

    @property
    def bytes(self) -> int:
        """Size of the folder on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def find(self, ids: Sequence[str], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return each id's doc_id, int64[len(ids)], -1 where it is not in this segment; `hashes` from `hash_ids`."""
        return self._ids.find(ids, hashes, self.documents.id)

    def vector(self, name: str, doc_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return a document's (term numbers int64, rising; canonical impacts float32); raises CollectionCorrupt."""
        try:
            return self.indexes[name].document(doc_id)
        except IndexError as error:
            folder = self.folder / "vectors" / name
            raise CollectionCorrupt(folder, f"document {doc_id}: {error}; `lsr verify` names the file") from error

    def term_ids(self, name: str, doc_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the term numbers of these documents' vectors, one after the other; raises CollectionCorrupt."""
        found = [self.vector(name, int(doc_id))[0] for doc_id in doc_ids]
        return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)


def verify_segment(collection: Path, row: SegmentRow, on_read: OnRead | None = None) -> Iterator[Problem]:
    """Compare every byte of a segment with its manifests; yields what is wrong, by file, one after another."""
    folder = collection / SEGMENTS_FOLDER / row.uuid
    try:
        manifest = _read_manifest(folder, row)
    except CollectionCorrupt as error:
        yield Problem(error.path, error.reason)
        return
    for name, entry in manifest["files"].items():
        path = folder / name
        try:
            _check_size(path, entry["bytes"])
            if sha256_of(path, on_read) != entry["sha256"]:
                yield Problem(path, "its bytes do not match the checksum in the manifest")
        except CollectionCorrupt as error:
            yield Problem(path, error.reason)
        except OSError as error:
            yield Problem(path, f"cannot be read: {error.strerror}")
    for name in manifest["vectors"]:
        for problem in verify_index(folder / "vectors" / name, on_read):
            yield Problem(Path(problem.path), problem.reason)


def _read_manifest(folder: Path, row: SegmentRow) -> dict[str, Any]:
    path = folder / MANIFEST_FILE
    try:
        found = sha256_of(path)
    except OSError as error:
        raise CollectionCorrupt(path, f"cannot be read: {error.strerror}") from error
    if found != row.manifest_sha256:
        raise CollectionCorrupt(path, "its bytes do not match the checksum in the catalog")
    manifest: dict[str, Any] = json.loads(path.read_bytes())
    if manifest["format_version"] > SEGMENT_FORMAT_VERSION:
        raise CollectionCorrupt(
            path,
            f"has format version {manifest['format_version']}, but this program reads up to "
            f"{SEGMENT_FORMAT_VERSION}: install a newer lsr",
        )
    return manifest


def _check_size(path: Path, expected: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise CollectionCorrupt(path, f"cannot be read: {error.strerror}") from error
    if found != expected:
        raise CollectionCorrupt(path, f"has {found} bytes instead of {expected}")
