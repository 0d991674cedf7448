"""A segment: an immutable folder with some of a collection's documents, their vectors and their texts.

    segments/<uuid>/manifest.json     counts, and each file's size and SHA-256
                    documents.arrow   texts and metadata, see document_file.py
                    ids.npy           external id -> doc_id, see id_file.py
                    vectors/<name>/   one SparseIndex for each sparse vector, DenseRows for each dense one

Documents are numbered by ascending external id. So the index's order for equal scores (ascending doc_id) is the
collection's order (ascending external id), and an index that returns k documents returns the correct k of tied
documents.

segment_writer.py writes segments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index import DenseRows, IndexConfig, Problem, SparseIndex, verify_dense, verify_index
from lsr.errors import CollectionCorrupt
from lsr.metadata import MetadataSchema
from lsr.storage.catalog_schema import SegmentRow
from lsr.storage.document_file import DOCUMENTS_FILE, DocumentFile
from lsr.storage.files import OnRead, sha256_of
from lsr.storage.id_file import IDS_FILE, IdFile

SEGMENTS_FOLDER = "segments"
TEMPORARY_PREFIX = "writing-"
MANIFEST_FILE = "manifest.json"
INDEX_MANIFEST = "manifest.json"
SEGMENT_FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class SegmentShape:
    """What the files of a collection's segments depend on."""

    schema: MetadataSchema
    indexes: Mapping[str, IndexConfig]  # of each sparse vector
    dense: Mapping[str, int] = field(default_factory=dict)  # the dimensions of each dense vector
    format_version: int = SEGMENT_FORMAT_VERSION  # that new segments are written in: the collection's


@dataclass(frozen=True, slots=True)
class FinishedSegment:
    """The catalog's entry for a segment that is on disk, synced, under its final name."""

    uuid: str
    documents: int
    manifest_sha256: str

    def row(self, number: int) -> SegmentRow:
        """Return its row in the catalog under this number."""
        return SegmentRow(number, self.uuid, self.documents, self.manifest_sha256)


class Segment:
    """An open segment. Immutable, safe to use from many threads; its files are mapped, not read."""

    def __init__(self, collection: Path, row: SegmentRow, shape: SegmentShape) -> None:
        """Open and check what could make a reader leave its arrays; raises CollectionCorrupt, IndexCorrupt."""
        self.row = row
        self.folder = collection / SEGMENTS_FOLDER / row.uuid
        self.manifest = _read_manifest(self.folder, row)
        for name, entry in self.manifest["files"].items():
            _check_size(self.folder / name, entry["bytes"])
        self.documents = DocumentFile(self.folder / DOCUMENTS_FILE, shape.schema)
        if len(self.documents) != row.documents:
            raise CollectionCorrupt(
                self.folder / DOCUMENTS_FILE, f"has {len(self.documents)} rows instead of {row.documents}"
            )
        self._ids = IdFile(self.folder / IDS_FILE, row.documents)
        self.indexes: dict[str, SparseIndex] = {}
        for name in shape.indexes:
            index = SparseIndex.open(self.folder / "vectors" / name)
            if index.n_docs != row.documents:
                raise CollectionCorrupt(
                    self.folder / "vectors" / name, f"has {index.n_docs} documents instead of {row.documents}"
                )
            self.indexes[name] = index
        self.dense: dict[str, DenseRows] = {}
        for name, dims in shape.dense.items():
            rows = DenseRows.open(self.folder / "vectors" / name)
            if (rows.n_docs, rows.dims) != (row.documents, dims):
                raise CollectionCorrupt(
                    self.folder / "vectors" / name,
                    f"has {rows.n_docs} rows of {rows.dims} instead of {row.documents} of {dims}",
                )
            self.dense[name] = rows

    def __len__(self) -> int:
        return self.row.documents

    @property
    def bytes(self) -> int:
        """Size of the folder on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def find(self, ids: Sequence[str], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return each id's doc_id, int64[len(ids)], -1 if it is not in this segment; `hashes` come from `hash_ids`."""
        return self._ids.find(ids, hashes, self.documents.id)

    def vector(self, name: str, doc_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return a document's (term numbers int64, ascending; canonical impacts float32); raises CollectionCorrupt."""
        try:
            return self.indexes[name].document(doc_id)
        except IndexError as error:
            folder = self.folder / "vectors" / name
            raise CollectionCorrupt(folder, f"document {doc_id}: {error}; `lsr verify` names the file") from error

    def term_ids(self, name: str, doc_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the term numbers of these documents' vectors, concatenated; raises CollectionCorrupt."""
        found = [self.vector(name, int(doc_id))[0] for doc_id in doc_ids]
        return np.concatenate(found).astype(np.int64) if found else np.empty(0, np.int64)


def verify_segment(collection: Path, row: SegmentRow, on_read: OnRead | None = None) -> Iterator[Problem]:
    """Compare every byte of a segment with its manifests; yields the problems, file by file."""
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
    for name in manifest.get("dense", {}):
        for problem in verify_dense(folder / "vectors" / name, on_read):
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
