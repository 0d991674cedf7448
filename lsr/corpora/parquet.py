"""A Parquet file, one document per row.

A column with the name of a document field is that field; every other column becomes metadata. Integer ids become
decimal strings, dates and times ISO 8601 strings, so that the metadata is JSON.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.tsv import ID_COLUMNS, document_from_row
from lsr.documents import Document
from lsr.errors import CorpusDamaged, CorpusUnreadable, InvalidDocument

_BATCH_ROWS = 1_000


class ParquetCorpus:
    """The rows of a Parquet file, read batch by batch."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, name: str, path: Path) -> None:
        """Raises CorpusUnreadable if it is not a Parquet file or has no id column."""
        self.name = name
        self.position = 0
        self._path = path
        try:
            with pq.ParquetFile(path) as file:
                self.size: int | None = file.metadata.num_rows
                columns = file.schema_arrow.names
        except (OSError, pa.ArrowException) as error:
            raise CorpusUnreadable(f"{path}: {error}") from None
        if not any(column.lower() in ID_COLUMNS for column in columns):
            raise CorpusUnreadable(f"{path}: no column is named id; its columns are {', '.join(columns)}")

    def identity(self) -> str | None:
        """Return the file's size and modification time."""
        stat = self._path.stat()
        return f"{stat.st_size}:{stat.st_mtime_ns}"

    def __iter__(self) -> Iterator[CorpusLine]:
        self.position = 0
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    for row in batch.to_pylist():
                        self.position += 1
                        yield CorpusLine(self.position, _content(row))
        except (OSError, pa.ArrowException) as error:
            raise CorpusDamaged(f"{self._path}: {error}, after row {self.position}") from None


def _content(row: dict[str, object]) -> Document | InvalidDocument:
    try:
        return document_from_row({column: _cell(column, cell) for column, cell in row.items()})
    except InvalidDocument as error:
        return error


def _cell(column: str, cell: object) -> object:
    if column.lower() in ID_COLUMNS and isinstance(cell, int):
        return str(cell)
    return _as_json(column, cell)


def _as_json(path: str, cell: object) -> object:
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    if isinstance(cell, decimal.Decimal):
        cell = float(cell)
    if isinstance(cell, dict):
        return {str(key): _as_json(f"{path}.{key}", value) for key, value in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [_as_json(f"{path}[{position}]", value) for position, value in enumerate(cell)]
    if cell is None or isinstance(cell, (str, bool, int)):
        return cell
    if isinstance(cell, float) and math.isfinite(cell):
        return cell
    detail = f"{path}: {cell!r:.40} cannot be written as JSON"
    raise InvalidDocument("invalid_field", detail, field=path)
