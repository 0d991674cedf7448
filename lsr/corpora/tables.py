"""Tables in Arrow's formats, one document per row: Parquet files, Arrow files, a Hugging Face data set on disk.

A column with the usual name of a document field is that field (fields.py), every other one becomes metadata, unless
`Fields` says otherwise. Dates and times become ISO 8601 strings. NaN is no value, as null is: pandas writes it for a
missing number. A cell that cannot be read or written as JSON refuses its row, and the message names the column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lsr.corpora.arrow_rows import as_json, rows_of
from lsr.corpora.corpus import CorpusLine
from lsr.corpora.fields import ID_COLUMNS, USUAL, Fields, check_columns, document_of
from lsr.documents import Document
from lsr.errors import CorpusDamaged, CorpusUnreadable, InvalidDocument
from lsr.input_file import InputFile, arrow_path, open_input, shown_name

STATE_FILE: Final = "state.json"  # of `datasets.Dataset.save_to_disk`
SPLITS_FILE: Final = "dataset_dict.json"  # of `datasets.DatasetDict.save_to_disk`

_BATCH_ROWS: Final = 1_000
_DAMAGE: Final = (OSError, ValueError, KeyError, pa.ArrowException)  # what pyarrow raises on a damaged file


class TableCorpus:
    """The rows of one or several files with the same columns, read batch by batch."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, name: str, files: Sequence[InputFile], fields: Fields = USUAL) -> None:
        """Raises CorpusUnreadable if a file is not a table, or a column that is needed does not exist."""
        self.name = name
        self.position = 0
        self._files = [open_table(file) for file in files]
        self._fields = fields
        self.size: int | None = sum(file.rows for file in self._files)
        for file in self._files:
            check_columns(file.name, file.columns, fields)

    def identity(self) -> str | None:
        """Return a string that is equal for the same unchanged files; None for what can be read only once."""
        found = [file.input.identity() for file in self._files]
        return None if None in found else ";".join(str(one) for one in found)

    def __iter__(self) -> Iterator[CorpusLine]:
        self.position = 0
        for file in self._files:
            try:
                for batch in file.batches():
                    for row in rows_of(batch, checked=file.checked):
                        self.position += 1
                        yield CorpusLine(self.position, self._content(row))
            except _DAMAGE as error:
                raise CorpusDamaged(f"{file.name}: {error}, after row {self.position}") from None

    def _content(self, row: dict[str, object] | InvalidDocument) -> Document | InvalidDocument:
        if isinstance(row, InvalidDocument):
            return row
        try:
            values = {column: as_json(column, cell) for column, cell in row.items() if self._is_read(column)}
            return document_of(values, self._fields, self.position, table=True)
        except InvalidDocument as error:
            return error

    def _is_read(self, column: str) -> bool:
        """Whether a column is used: one that is not may hold what cannot be written as JSON."""
        if not isinstance(self._fields.metadata, tuple) or column in self._fields.names:
            return True
        return column.lower() in (*ID_COLUMNS, "title", "text", "parent")


def is_saved_dataset(folder: Path) -> bool:
    """Return whether a folder was written by `save_to_disk` of the package datasets."""
    return (folder / STATE_FILE).is_file() or (folder / SPLITS_FILE).is_file()


def saved_dataset_files(folder: Path) -> list[InputFile]:
    """Return the files of a saved data set, in order; raises CorpusUnreadable, which names the splits, if several."""
    if not (folder / STATE_FILE).is_file():
        splits = _read_json(folder / SPLITS_FILE).get("splits", [])
        if len(splits) != 1:
            paths = ", ".join(str(folder / str(split)) for split in splits)
            raise CorpusUnreadable(f"{folder}: it has several splits; give one of them: {paths}")
        return saved_dataset_files(folder / str(splits[0]))
    try:
        names = [str(file["filename"]) for file in _read_json(folder / STATE_FILE)["_data_files"]]
    except (KeyError, TypeError):
        raise CorpusUnreadable(f"{folder / STATE_FILE}: it does not list the data set's files") from None
    return [open_input(folder / name) for name in names]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusUnreadable(f"{path}: {error}") from None
    return value if isinstance(value, dict) else {}


class ParquetTable:
    """A Parquet file: its schema, its number of rows, its batches."""

    checked = True  # pyarrow's reader makes sound offsets

    def __init__(self, file: InputFile) -> None:
        self.input = file
        self.name = shown_name(file.name)
        with pa.memory_map(arrow_path(file.path)) as mapped, pq.ParquetFile(mapped) as opened:
            self.rows = opened.metadata.num_rows
            self.schema: pa.Schema = opened.schema_arrow
        self.columns: list[str] = self.schema.names

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, at most _BATCH_ROWS at a time."""
        with pa.memory_map(arrow_path(self.input.path)) as mapped, pq.ParquetFile(mapped) as opened:
            yield from opened.iter_batches(batch_size=_BATCH_ROWS)


class ArrowTable:
    """An Arrow IPC file or stream, mapped: its schema, its number of rows, its batches."""

    checked = False

    def __init__(self, file: InputFile) -> None:
        self.input = file
        self.name = shown_name(file.name)
        with pa.memory_map(arrow_path(file.path)) as opened:
            self.schema = arrow_schema(opened)
            self.rows = sum(batch.num_rows for batch in self._read(opened))
        self.columns: list[str] = self.schema.names

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, at most _BATCH_ROWS at a time."""
        with pa.memory_map(arrow_path(self.input.path)) as opened:
            for batch in self._read(opened):
                yield from (batch.slice(at, _BATCH_ROWS) for at in range(0, batch.num_rows, _BATCH_ROWS))

    def _read(self, opened: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
        opened.seek(0)
        try:
            reader = pa.ipc.open_file(opened)
        except pa.ArrowInvalid:
            opened.seek(0)
            yield from pa.ipc.open_stream(opened)
            return
        yield from (reader.get_batch(at) for at in range(reader.num_record_batches))


def arrow_schema(opened: pa.MemoryMappedFile) -> pa.Schema:
    """Return the schema of an Arrow file or stream; raises pa.ArrowInvalid."""
    try:
        return pa.ipc.open_file(opened).schema
    except pa.ArrowInvalid:
        opened.seek(0)
        return pa.ipc.open_stream(opened).schema


def open_table(file: InputFile) -> ParquetTable | ArrowTable:
    """Return a file as a table; raises CorpusUnreadable if it is neither Parquet nor Arrow."""
    try:
        with file.path.open("rb") as opened:
            parquet = opened.read(4) == b"PAR1"
        return ParquetTable(file) if parquet else ArrowTable(file)
    except _DAMAGE as error:
        raise CorpusUnreadable(f"{shown_name(file.name)}: neither a Parquet nor an Arrow file: {error}") from None
