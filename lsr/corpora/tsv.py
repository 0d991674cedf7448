"""Tab-separated values, one document per line, without quotes (MS MARCO's collection.tsv).

Without a header: two columns are id and text, three are id, title and text. If the first line has a column named `id`,
`_id` or `docid`, it is a header: columns named `title`, `text` and `parent` are those fields, and all others become
metadata, as strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.jsonl import line_too_long
from lsr.corpora.line_source import LineCorpus
from lsr.documents import Document, parse_document
from lsr.errors import InvalidDocument

ID_COLUMNS: Final = ("id", "_id", "docid", "doc_id")
TEXT_COLUMNS: Final = ("title", "text", "parent")

_HEADERLESS: Final = {2: ("id", "text"), 3: ("id", "title", "text")}


class TsvCorpus(LineCorpus):
    """A file of tab-separated lines. Blank lines are skipped."""

    def __iter__(self) -> Iterator[CorpusLine]:
        columns: Sequence[str] | None = None
        for number, line in self._source:
            if line is None:
                yield CorpusLine(number, line_too_long())
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                detail = f"byte {error.start} of the line is not valid UTF-8"
                yield CorpusLine(number, InvalidDocument("invalid_utf8", detail))
                continue
            text = text.rstrip("\r\n")
            if not text.strip():
                continue
            cells = text.split("\t")
            if columns is None:
                header = [cell.strip() for cell in cells]
                if any(cell.lower() in ID_COLUMNS for cell in header):
                    columns = header
                    continue
                columns = _HEADERLESS.get(len(cells), ())
            try:
                yield CorpusLine(number, _document(columns, cells))
            except InvalidDocument as error:
                yield CorpusLine(number, error)


def _document(columns: Sequence[str], cells: Sequence[str]) -> Document:
    if not columns:
        raise InvalidDocument(
            "wrong_columns",
            f"{len(cells)} columns; expected id and text, or id, title and text, separated by tabs, or a header line",
        )
    if len(cells) != len(columns):
        raise InvalidDocument("wrong_columns", f"{len(cells)} columns where {len(columns)} were expected")
    return document_from_row(dict(zip(columns, cells, strict=True)))


def document_from_row(row: dict[str, object]) -> Document:
    """Return a table's row as a document: document fields by name, everything else as metadata.

    Raises InvalidDocument.
    """
    value: dict[str, object] = {}
    metadata: dict[str, object] = {}
    for column, cell in row.items():
        name = column.lower()
        if name in ID_COLUMNS and "id" not in value:
            value["id"] = cell
        elif name in TEXT_COLUMNS:
            value[name] = cell
        elif name == "metadata" and isinstance(cell, dict):
            metadata.update(cell)
        elif cell is not None:
            metadata[column] = cell
    if metadata:
        value["metadata"] = metadata
    return parse_document(value)
