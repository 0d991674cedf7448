"""JSON lines, one document per line, such as the corpus.jsonl of a BEIR folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.fields import USUAL, Fields, document_of
from lsr.corpora.line_source import MAX_LINE_BYTES, LineCorpus, LineSource, refuse_array
from lsr.documents import Document, parse_document
from lsr.errors import InvalidDocument, InvalidJson
from lsr.strict_json import loads


class JsonlCorpus(LineCorpus):
    """A file of JSON lines. Blank lines are skipped."""

    def __init__(self, name: str, source: LineSource, fields: Fields = USUAL) -> None:
        """Raises CorpusUnreadable for a JSON array."""
        super().__init__(name, source)
        refuse_array(source)
        self._fields = fields

    def parse(self, value: object, number: int) -> Document:
        """Return a line's value as a document; raises InvalidDocument."""
        if not self._fields.chosen or not isinstance(value, Mapping):
            return parse_document(value)
        return document_of(value, self._fields, number, table=False)

    def __iter__(self) -> Iterator[CorpusLine]:
        for number, line in self._source:
            if line is None:
                yield CorpusLine(number, line_too_long())
            elif not line.isspace():
                try:
                    yield CorpusLine(number, self.parse(loads(line), number))
                except InvalidJson as error:
                    yield CorpusLine(number, InvalidDocument("malformed_json", str(error), field=error.field))
                except InvalidDocument as error:
                    yield CorpusLine(number, error)


def line_too_long() -> InvalidDocument:
    """Return the error for a line above the limit."""
    return InvalidDocument("line_too_long", f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
