"""JSON lines, one document per line, such as the corpus.jsonl of a BEIR folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.line_source import MAX_LINE_BYTES, LineCorpus, LineSource
from lsr.documents import Document, parse_document
from lsr.errors import InvalidDocument, InvalidJson
from lsr.strict_json import loads


class JsonlCorpus(LineCorpus):
    """A file of JSON lines. Blank lines are skipped."""

    def __init__(self, name: str, source: LineSource, parse: Callable[[object], Document] = parse_document) -> None:
        super().__init__(name, source)
        self._parse = parse

    def __iter__(self) -> Iterator[CorpusLine]:
        parse = self._parse
        for number, line in self._source:
            if line is None:
                yield CorpusLine(number, line_too_long())
            elif not line.isspace():
                try:
                    yield CorpusLine(number, parse(loads(line)))
                except InvalidJson as error:
                    yield CorpusLine(number, InvalidDocument("malformed_json", str(error), field=error.field))
                except InvalidDocument as error:
                    yield CorpusLine(number, error)


def line_too_long() -> InvalidDocument:
    """Return the error for a line above the limit."""
    return InvalidDocument("line_too_long", f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
