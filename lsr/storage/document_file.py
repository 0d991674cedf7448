"""documents.arrow: the texts and metadata columns of a segment, one row per document, mapped and read without a copy.

An Arrow IPC file without compression. Columns: `id`, `title`, `text`, `parent` (null if there is none), `metadata` (the
whole metadata as JSON), then a typed column `metadata.<name>` for each field of the schema. Strings are `large_string`:
the offsets of Arrow's plain `string` overflow at 2 GiB.

Arrow trusts the offsets in a mapped file, and a wrong offset would make it read outside the map. So opening the file
checks every offset array. It does not check the characters: `verify` finds damage there, or it shows as an error for
one document.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from lsr.documents import Document
from lsr.errors import CollectionCorrupt
from lsr.input_file import arrow_path
from lsr.metadata import MetadataSchema

DOCUMENTS_FILE = "documents.arrow"
_FEW = 24  # up to this many rows, reading each one is faster than Arrow's take

_TEXT_COLUMNS = [
    pa.field("id", pa.large_string(), nullable=False),
    pa.field("title", pa.large_string(), nullable=False),
    pa.field("text", pa.large_string(), nullable=False),
    pa.field("parent", pa.large_string()),
    pa.field("metadata", pa.large_string(), nullable=False),
]
_TEXT_NAMES = tuple(field.name for field in _TEXT_COLUMNS)


class DocumentFileWriter:
    """Writes documents in the given order. Use it as a context manager: the file is complete when it closes."""

    def __init__(self, path: Path, schema: MetadataSchema) -> None:
        self._sink = pa.OSFile(arrow_path(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, _arrow_schema(schema))

    def __enter__(self) -> DocumentFileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, table: pa.Table) -> None:
        """Write rows as one Arrow batch."""
        self._writer.write_table(table.combine_chunks())

    def close(self) -> None:
        """Finish the file; may be called twice."""
        if not self._sink.closed:
            try:
                self._writer.close()
            finally:
                self._sink.close()


class DocumentFile:
    """An open documents.arrow. Rows are numbered from 0; safe to read from many threads."""

    def __init__(self, path: Path, schema: MetadataSchema) -> None:
        """Map the file and check its structure; raises CollectionCorrupt."""
        self._path = path
        try:
            with pa.memory_map(arrow_path(path)) as source, pa.ipc.open_file(source) as reader:
                self.table: pa.Table = reader.read_all()
            if self.table.schema != _arrow_schema(schema):
                raise CollectionCorrupt(path, "does not have the columns of the collection's schema")
            self.table.validate()
            for name, column in zip(self.table.column_names, self.table.columns, strict=True):
                for chunk in column.chunks:
                    _check_offsets(path, name, chunk)
        except (pa.ArrowException, OSError, ValueError, EOFError) as error:
            raise CollectionCorrupt(path, f"cannot be read as an Arrow file: {error}") from error
        # Plain lists, used for every hit: Arrow creates a new wrapper at each access to a column.
        self._chunks = {name: self.table.column(name).chunks for name in _TEXT_NAMES}
        self._starts = list(accumulate((len(chunk) for chunk in self._chunks["id"]), initial=0))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def id(self, row: int) -> str:
        """Return the external id of a row; raises CollectionCorrupt if its bytes are not UTF-8."""
        return str(self._value("id", row))

    def ids(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """Return the external ids of rows."""
        if len(rows) < _FEW:
            return [self.id(int(row)) for row in rows]
        return self._strings(self.table.column("id").take(np.asarray(rows, dtype=np.int64)), "id")

    def all_ids(self) -> list[str]:
        """Return every external id, in row order."""
        return self._strings(self.table.column("id"), "id")

    def documents(self, start: int, stop: int) -> list[Document]:
        """Return the rows start .. stop as Documents, without their vectors."""
        rows = self.table.slice(start, stop - start)
        columns = [self._strings(rows.column(name), name) for name in _TEXT_NAMES]
        try:
            return [
                Document(identifier, title, text, parent, orjson.loads(metadata))
                for identifier, title, text, parent, metadata in zip(*columns, strict=True)
            ]
        except orjson.JSONDecodeError as error:
            raise CollectionCorrupt(self._path, f"rows {start} to {stop}: invalid JSON in metadata: {error}") from error

    def document(self, row: int) -> Document:
        """Return a row as a Document, without its vectors."""
        parent = self._value("parent", row)
        try:
            metadata = orjson.loads(self._value("metadata", row))
        except orjson.JSONDecodeError as error:
            raise CollectionCorrupt(self._path, f"row {row}: invalid JSON in metadata: {error}") from error
        return Document(
            id=self._value("id", row),
            title=self._value("title", row),
            text=self._value("text", row),
            parent=parent,
            metadata=metadata,
        )

    def _strings(self, column: pa.ChunkedArray[Any], name: str) -> list[Any]:
        try:
            return column.to_pylist()
        except UnicodeDecodeError as error:
            raise CollectionCorrupt(self._path, f"column {name}: {error}") from error

    def _value(self, column: str, row: int) -> Any:
        chunk = bisect_right(self._starts, row) - 1
        try:
            return self._chunks[column][chunk][row - self._starts[chunk]].as_py()
        except UnicodeDecodeError as error:
            raise CollectionCorrupt(self._path, f"column {column}, row {row}: {error}") from error


def documents_table(documents: Sequence[Document], schema: MetadataSchema) -> pa.Table:
    """Return checked documents as the columns of documents.arrow."""
    metadata = [document.metadata for document in documents]
    columns = [
        pa.array([document.id for document in documents], pa.large_string()),
        pa.array([document.title for document in documents], pa.large_string()),
        pa.array([document.text for document in documents], pa.large_string()),
        pa.array([document.parent for document in documents], pa.large_string()),
        pa.array([orjson.dumps(dict(values)).decode() for values in metadata], pa.large_string()),
        *schema.columns(metadata),
    ]
    return pa.Table.from_arrays(columns, schema=_arrow_schema(schema))


def with_columns(table: pa.Table, added: pa.Table, schema: MetadataSchema) -> pa.Table:
    """Return the rows of a documents.arrow with more metadata columns, those of `schema`; without a copy."""
    wanted = _arrow_schema(schema)
    columns = [(table if name in table.column_names else added).column(name) for name in wanted.names]
    return pa.Table.from_arrays(columns, schema=wanted)


def _arrow_schema(schema: MetadataSchema) -> pa.Schema:
    return pa.schema([*_TEXT_COLUMNS, *schema.arrow_fields])


def _check_offsets(path: Path, name: str, array: Any) -> None:
    """Raise CollectionCorrupt unless every offset of a string or list array points inside its data."""
    if not (pa.types.is_large_string(array.type) or pa.types.is_large_list(array.type)):
        return
    offsets_buffer, data_buffer = array.buffers()[1:3]
    if offsets_buffer is None:
        if len(array):
            raise CollectionCorrupt(path, f"column {name} has no offsets")
        return
    offsets = np.frombuffer(memoryview(offsets_buffer), dtype=np.int64, count=array.offset + len(array) + 1)
    if pa.types.is_large_list(array.type):
        values = array.values
        limit = len(values)
        _check_offsets(path, name, values)
    else:
        limit = data_buffer.size if data_buffer is not None else 0
    if offsets[0] < 0 or offsets[-1] > limit or np.any(offsets[1:] < offsets[:-1]):
        raise CollectionCorrupt(path, f"column {name}: an offset points outside the column")
