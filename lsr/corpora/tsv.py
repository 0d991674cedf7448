"""Tab-separated values, one document per line, without quotes (MS MARCO's collection.tsv).

Without a header: two columns are id and text, three are id, title and text. If the first line has a column named `id`,
`_id` or `docid`, or one that `Fields` names, it is a header: columns named `title`, `text` and `parent` are those
fields, and all others become metadata, as strings, unless the collection's schema says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.fields import ID_COLUMNS, USUAL, Fields, document_of
from lsr.corpora.jsonl import line_too_long
from lsr.corpora.line_source import LineCorpus, LineSource
from lsr.corpora.text_cells import typed_row
from lsr.documents import Document
from lsr.errors import InvalidDocument

_HEADERLESS: Final = {2: ("id", "text"), 3: ("id", "title", "text")}


class TsvCorpus(LineCorpus):
    """A file of tab-separated lines. Blank lines are skipped."""

    def __init__(self, name: str, source: LineSource, fields: Fields = USUAL) -> None:
        super().__init__(name, source)
        self._fields = fields

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
                if self._is_header(header):
                    columns = header
                    continue
                columns = _HEADERLESS.get(len(cells), ())
            try:
                yield CorpusLine(number, self._document(columns, cells, number))
            except InvalidDocument as error:
                yield CorpusLine(number, error)

    def _is_header(self, cells: Sequence[str]) -> bool:
        return any(cell.lower() in ID_COLUMNS or cell in self._fields.names for cell in cells)

    def _document(self, columns: Sequence[str], cells: Sequence[str], number: int) -> Document:
        if not columns:
            raise InvalidDocument(
                "wrong_columns",
                f"{len(cells)} columns; expected id and text, or id, title and text, separated by tabs, or a header "
                "line",
            )
        if len(cells) != len(columns):
            raise InvalidDocument("wrong_columns", f"{len(cells)} columns where {len(columns)} were expected")
        row = typed_row(dict(zip(columns, cells, strict=True)), self._fields.types)
        return document_of(row, self._fields, number, table=True)
