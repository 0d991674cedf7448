"""New metadata fields of stored documents: their columns, and a segment that has them.

A document may have had metadata under a field's name before the field was declared. Its column has these values, as if
the field had been declared from the start; a value that is not of the field's type is noted, for a refusal.

Segments never change. `extend_segment` writes a new one with the same documents under the same doc_ids: documents.arrow
with more columns, and hard links to all other files.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lsr.errors import CollectionCorrupt, InvalidDocument, QueryError
from lsr.metadata import FieldType, arrow_type, parse_value
from lsr.storage.document_file import DOCUMENTS_FILE, DocumentFileWriter, with_columns
from lsr.storage.files import publish, sha256_of, storage_errors, write_file
from lsr.storage.generation import SegmentView
from lsr.storage.pending import PendingChunk
from lsr.storage.segment import MANIFEST_FILE, FinishedSegment, Segment
from lsr.storage.segment_writer import NewSegment

_ROWS = 8192  # written at a time
_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)
_Found = tuple[int, Any, bool]  # a row, its value, whether the document is live


class NewColumns:
    """Reads the columns `metadata.<name>` of new fields, and notes the values of live documents that do not fit."""

    def __init__(self, fields: Mapping[str, FieldType]) -> None:
        self._fields = fields
        self._misfits = 0
        self._first: QueryError | None = None

    def of_segment(self, view: SegmentView) -> pa.Table:
        """Return the new columns of a segment's documents; raises CollectionCorrupt."""
        table = view.segment.documents.table
        try:
            columns = [
                self._column(name, kind, len(table), _stored(view, name), view.segment.documents.id)
                for name, kind in self._fields.items()
            ]
        except orjson.JSONDecodeError as error:
            path = view.segment.folder / DOCUMENTS_FILE
            raise CollectionCorrupt(path, f"invalid JSON in metadata: {error}") from error
        return self._table(columns)

    def of_chunk(self, chunk: PendingChunk) -> pa.Table:
        """Return the new columns of pending documents."""
        documents, live = chunk.content.documents, chunk.live.tolist()
        columns = [
            self._column(
                name,
                kind,
                len(documents),
                ((at, document.metadata.get(name), live[at]) for at, document in enumerate(documents)),
                lambda at: documents[at].id,
            )
            for name, kind in self._fields.items()
        ]
        return self._table(columns)

    def require_fit(self) -> None:
        """Raise QueryError if a live document has a value that is not of its field's type."""
        if self._first is not None:
            others = self._misfits - 1
            more = f" ({others:,} more such value{'s' if others > 1 else ''})" if others else ""
            raise QueryError(
                f"{self._first}{more}; give the field the type of its values, or change these documents first",
                field=self._first.field,
            )

    def _column(self, name: str, kind: FieldType, length: int, found: Iterable[_Found], id_of: Any) -> pa.Array[Any]:
        values: list[Any] = [None] * length
        for row, value, live in found:
            if value is None:
                continue
            try:
                values[row] = parse_value(kind, value, f"metadata.{name}")
            except InvalidDocument as error:
                self._misfits += live
                if live and self._first is None:
                    detail = f"schema.{name}: the document {id_of(row)!r:.200} does not fit: {error.detail}"
                    self._first = QueryError(detail, field=f"schema.{name}")
        return pa.array(values, type=arrow_type(kind))

    def _table(self, columns: list[pa.Array[Any]]) -> pa.Table:
        return pa.Table.from_arrays(columns, names=[f"metadata.{name}" for name in self._fields])


def _stored(view: SegmentView, name: str) -> Iterable[_Found]:
    """Yield the rows of a segment whose metadata may have the key, with its value."""
    start = 0
    for chunk in view.segment.documents.table.column("metadata").chunks:
        # A field's name has no character that JSON escapes: only rows with these bytes can have the key.
        hits: Any = pc.match_substring(chunk, f'"{name}"')
        for at in np.flatnonzero(hits.to_numpy(zero_copy_only=False)).tolist():
            live = view.live is None or bool(view.live[start + at])
            yield start + at, orjson.loads(chunk[at].as_py()).get(name), live
        start += len(chunk)


def check_documents(segment: Segment) -> None:
    """Raise CollectionCorrupt if a segment's documents.arrow is damaged: a copy of it gets a new checksum."""
    path = segment.folder / DOCUMENTS_FILE
    if sha256_of(path) != segment.manifest["files"][DOCUMENTS_FILE]["sha256"]:
        raise CollectionCorrupt(path, "its bytes do not match the checksum in the manifest")


def extend_segment(new: NewSegment, segment: Segment, added: pa.Table) -> FinishedSegment:
    """Write and publish a copy of a segment with the columns of `added`, see `NewColumns`; raises StorageFull.

    `new.shape.schema` has the segment's fields and the added ones.
    """
    try:
        with storage_errors(new.folder):
            shutil.copytree(segment.folder, new.folder, copy_function=_link, ignore=_replaced_files(segment.folder))
            table = with_columns(segment.documents.table, added, new.shape.schema)
            with DocumentFileWriter(new.folder / DOCUMENTS_FILE, new.shape.schema) as writer:
                for start in range(0, len(table), _ROWS):
                    writer.append(table.slice(start, _ROWS))
            path = new.folder / DOCUMENTS_FILE
            files = {**segment.manifest["files"]}
            files[DOCUMENTS_FILE] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            manifest = {**segment.manifest, "uuid": new.uuid, "files": files}
            write_file(new.folder / MANIFEST_FILE, (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode())
            publish(new.folder, new.final)
    except BaseException:
        new.abandon()
        raise
    return FinishedSegment(new.uuid, len(segment), sha256_of(new.final / MANIFEST_FILE))


def _link(source: str, target: str) -> None:
    """Link a file, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def _replaced_files(top: Path) -> Any:
    def ignored(folder: str, _: list[str]) -> set[str]:
        return {DOCUMENTS_FILE, MANIFEST_FILE} if Path(folder) == top else set()

    return ignored
