"""CSV with a header line, one document per record (RFC 4180): cells may be quoted and hold commas, quotes, line ends.

The delimiter is a comma, or a semicolon where the header has no comma. Columns are named as in fields.py; those that
become metadata are strings, unless the collection's schema says otherwise. An empty cell is no value.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.fields import USUAL, Fields, check_columns, document_of
from lsr.corpora.line_source import MAX_LINE_BYTES, LineCorpus, LineSource
from lsr.corpora.text_cells import typed_row
from lsr.documents import Document
from lsr.errors import CorpusUnreadable, InvalidDocument


class CsvCorpus(LineCorpus):
    """A CSV file. A record's line number is that of its first line; blank lines are skipped."""

    def __init__(self, name: str, source: LineSource, fields: Fields = USUAL) -> None:
        """Raises CorpusUnreadable for a header without a column that is needed."""
        super().__init__(name, source)
        self._fields = fields
        self._columns: Sequence[str] = ()
        for _, cells in self._records():
            if isinstance(cells, InvalidDocument):
                raise CorpusUnreadable(f"{source.name}: the header: {cells}")
            self._columns = [cell.strip() for cell in cells]
            break
        if self._columns:
            self._check_header()

    def __iter__(self) -> Iterator[CorpusLine]:
        records = self._records()
        next(records, None)  # the header
        for number, cells in records:
            yield CorpusLine(number, cells if isinstance(cells, InvalidDocument) else self._content(number, cells))

    def _content(self, number: int, cells: list[str]) -> Document | InvalidDocument:
        try:
            if len(cells) != len(self._columns):
                detail = f"{len(cells)} cells where the header has {len(self._columns)}"
                raise InvalidDocument("wrong_columns", detail)
            row = typed_row(dict(zip(self._columns, cells, strict=True)), self._fields.types)
            present = {name: None if cell == "" else cell for name, cell in row.items()}
            return document_of(present, self._fields, number, table=True)
        except InvalidDocument as error:
            return error

    def _records(self) -> Iterator[tuple[int, list[str] | InvalidDocument]]:
        """Yield (number of the first line, cells) of each record that is not blank, with the header."""
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader(self._lines(), delimiter=self._delimiter(), strict=True)
        while True:
            start = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield start, InvalidDocument("malformed_csv", f"malformed CSV: {error}")
                continue
            if cells is None:
                return
            if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell if character > "\ud7ff"):
                yield start, InvalidDocument("invalid_utf8", "the record is not valid UTF-8")
            elif any(cell.strip() for cell in cells):
                yield start, cells

    def _lines(self) -> Iterator[str]:
        # A line too long becomes a cell that the reader refuses for its length.
        for _, line in self._source:
            yield "x" * (MAX_LINE_BYTES + 1) + "\n" if line is None else line.decode(errors="surrogateescape")

    def _delimiter(self) -> str:
        first = next((line for _, line in self._source if line is not None and line.strip()), b"")
        return ";" if b"," not in first and b";" in first else ","

    def _check_header(self) -> None:
        name, columns = self._source.name, self._columns
        twice = next((column for at, column in enumerate(columns) if column in columns[:at]), None)
        if twice is not None:
            raise CorpusUnreadable(f"{name}: the header has the column {twice!r} twice")
        check_columns(name, columns, self._fields)
