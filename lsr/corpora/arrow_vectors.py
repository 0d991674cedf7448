"""Sparse vectors in Arrow's formats (an Arrow IPC file, Parquet, a Hugging Face data set), as written by `lsr encode`,
`lsr export` and other programs.

    id        text or integer
    tokens    list of text, or: indices, list of integers (term numbers)
    weights   list of floats (or: values), of the same length
    title, text, parent, metadata (a struct, or text that is a JSON object)     optional
    dense.<name>       lists of one length of floats, the dense vector of that name; optional, null where there is none

`lsr encode` records its encoder in the schema (key `lsr.vectors`), so that `lsr index` uses the same encoder for the
collection and refuses another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa

from lsr.corpora.arrow_rows import as_json, rows_of
from lsr.corpora.corpus import CorpusLine
from lsr.corpora.tables import ParquetTable, open_table
from lsr.documents import Document, parse_document
from lsr.errors import CorpusDamaged, CorpusUnreadable, InvalidDocument, InvalidJson
from lsr.input_file import InputFile
from lsr.strict_json import loads

METADATA_KEY: Final = b"lsr.vectors"
DENSE_KEY: Final = b"lsr.dense"
DENSE_PREFIX: Final = "dense."
SUFFIXES: Final = (".arrow", ".ipc", ".feather")

_TERMS: Final = ("tokens", "indices")
_WEIGHTS: Final = ("weights", "values")
_DAMAGE: Final = (OSError, ValueError, KeyError, pa.ArrowException)  # what pyarrow raises on a damaged file
_OTHERS: Final = ("id", "title", "text", "parent", "metadata")


class DenseColumn(NamedTuple):
    """A column of dense vectors: their length, where the type says it, and encoder, settings and fingerprint."""

    dimensions: int | None
    encoder: dict[str, Any] | None


class ArrowVectorsCorpus:
    """The rows of one or several files with the same columns, mapped and read batch by batch."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, name: str, files: Sequence[InputFile]) -> None:
        """Raises CorpusUnreadable if a file is neither Arrow nor Parquet, lacks a column, or differs from the first."""
        self.name = name
        self.position = 0
        self._files = [open_table(file) for file in files]
        self.size: int | None = sum(file.rows for file in self._files)
        schema = self._files[0].schema
        names = list(schema.names)
        for file in self._files:
            if file.columns != names:
                raise CorpusUnreadable(f"{file.name}: its columns differ from those of {self._files[0].name}")
        self._terms = next((column for column in _TERMS if column in names), "")
        self._weights = next((column for column in _WEIGHTS if column in names), "")
        if not self._terms or not self._weights or "id" not in names:
            found = ", ".join(names)
            raise CorpusUnreadable(f"{name}: columns id, tokens (or indices) and weights are needed; it has {found}")
        self.dense = _dense_of(Path(name), schema)
        unknown = sorted(
            set(names) - {self._terms, self._weights, *_OTHERS, *(DENSE_PREFIX + one for one in self.dense)}
        )
        if unknown:
            raise CorpusUnreadable(f"{name}: unknown column {unknown[0]!r}; put other data into metadata")
        self.encoder = _encoder_of(Path(name), schema)

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
                raise CorpusDamaged(f"{self.name}: {error}, after row {self.position}") from None

    def _content(self, row: dict[str, Any] | InvalidDocument) -> Document | InvalidDocument:
        if isinstance(row, InvalidDocument):
            return row
        try:
            value = {name: row[name] for name in _OTHERS if row.get(name) is not None}
            if isinstance(value.get("id"), int):
                value["id"] = str(value["id"])
            if isinstance(value.get("metadata"), str):
                value["metadata"] = loads(value["metadata"])
            elif isinstance(value.get("metadata"), dict):
                cells = {key: as_json(f"metadata.{key}", cell) for key, cell in value["metadata"].items()}
                value["metadata"] = {key: cell for key, cell in cells.items() if cell is not None}
            value["sparse"] = self._sparse(row[self._terms], row[self._weights])
            dense = {name: {"dense": row[DENSE_PREFIX + name]} for name in self.dense if row[DENSE_PREFIX + name]}
            if dense:
                value["vectors"] = dense
            return parse_document(value)
        except InvalidJson as error:
            return InvalidDocument("invalid_field", f"metadata: {error}", field="metadata")
        except InvalidDocument as error:
            return error

    def _sparse(self, terms: list[Any] | None, weights: list[Any] | None) -> dict[str, Any]:
        if terms is None or weights is None or len(terms) != len(weights):
            detail = f"{self._terms} and {self._weights} must be lists of the same length"
            raise InvalidDocument("invalid_sparse", detail, field=self._weights)
        if self._terms == "indices":
            return {"indices": terms, "values": weights}
        sparse = dict(zip(terms, weights, strict=True))
        if len(sparse) != len(terms):
            raise InvalidDocument("invalid_sparse", "a token occurs twice", field=self._terms)
        return sparse


def holds_vector_columns(file: InputFile) -> bool:
    """Return whether a Parquet or Arrow file has columns of sparse vectors; another one is a table of documents.

    An Arrow file with one of the columns is meant to have both; in a Parquet file a column of tokens may be anything.
    """
    try:
        table = open_table(file)
    except CorpusUnreadable:
        return False
    names = set(table.columns)
    if isinstance(table, ParquetTable):
        return not names.isdisjoint(_TERMS) and not names.isdisjoint(_WEIGHTS)
    return not names.isdisjoint((*_TERMS, "weights"))


def _encoder_of(path: Path, schema: pa.Schema) -> dict[str, Any] | None:
    """Return what `lsr encode` recorded: encoder, settings, fingerprint, dtypes; None for files of other programs."""
    noted = (schema.metadata or {}).get(METADATA_KEY)
    if noted is None:
        return None
    try:
        value = loads(noted)
        if _is_note(value):
            return dict(value)
    except InvalidJson:
        pass
    raise CorpusUnreadable(f"{path}: the encoder recorded in the schema ({METADATA_KEY.decode()}) cannot be read")


def _dense_of(path: Path, schema: pa.Schema) -> dict[str, DenseColumn]:
    """Return the dense vectors of the columns `dense.<name>`, with what was noted of their encoders."""
    columns = [field for field in schema if field.name.startswith(DENSE_PREFIX)]
    noted = (schema.metadata or {}).get(DENSE_KEY)
    try:
        notes = {} if noted is None else loads(noted)
    except InvalidJson:
        notes = None
    if not isinstance(notes, dict) or not all(note is None or _is_note(note) for note in notes.values()):
        raise CorpusUnreadable(
            f"{path}: the note about dense vectors in the schema ({DENSE_KEY.decode()}) cannot be read"
        )
    found = {}
    for field in columns:
        name = field.name.removeprefix(DENSE_PREFIX)
        kind = field.type
        fixed = pa.types.is_fixed_size_list(kind)
        if not (fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_floating(
            kind.value_type
        ):
            raise CorpusUnreadable(f"{path}: the column {field.name} holds {kind}, not lists of floats")
        found[name] = DenseColumn(kind.list_size if fixed else None, notes.get(name))
    return found


def _is_note(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("encoder"), str)
        and isinstance(value.get("settings"), dict)
        and isinstance(value.get("dtypes", []), list)
        and all(isinstance(dtype, str) for dtype in value.get("dtypes", []))
    )
