"""`write_vectors`: writes rows to a file in one of the formats; the file appears when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Final

from lsr.errors import QueryError
from lsr.exchange.ciff import write_ciff
from lsr.exchange.line_formats import anserini_lines, jsonl_lines, opensearch_lines, qdrant_lines
from lsr.exchange.rows import VectorRow, VectorSource
from lsr.output_file import output_file

MAX_SCALE: Final = 1e9
FORMATS: Final = ("jsonl", "arrow", "anserini", "ciff", "opensearch", "qdrant")


def write_vectors(source: VectorSource, out: str, format: str, *, scale: float = 100.0) -> int:  # noqa: A002
    """Write all rows to the file `out` (`-`: standard output) and return their number.

    `scale` multiplies the weights in formats that have integers only (anserini, ciff). An existing file is replaced
    when the new one is complete (output_file.py). Raises QueryError (an invalid `scale`), ValueError (an unknown
    format), OSError.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")
    if not 0 < scale <= MAX_SCALE:
        raise QueryError(f"scale must be above 0 and at most {MAX_SCALE:g}, not {scale:g}", field="scale")
    with output_file(out) as file:
        return _write(source, file, format, scale)


def _write(source: VectorSource, file: BinaryIO, format_name: str, scale: float) -> int:
    if format_name == "arrow":
        from lsr.exchange.arrow_file import write_arrow

        return write_arrow(source, file)
    if format_name == "ciff":
        return write_ciff(source, file, scale, f"lsr export of {source.vector_name}, weights × {scale:g}")
    counted = _Counted(source)
    lines = {
        "jsonl": jsonl_lines,
        "anserini": lambda rows: anserini_lines(rows, scale),
        "opensearch": opensearch_lines,
        "qdrant": qdrant_lines,
    }[format_name]
    for line in lines(counted.source):
        file.write(line.encode())
    return counted.count


class _Counted:
    """A source that counts the rows read from it."""

    def __init__(self, source: VectorSource) -> None:
        self.count = 0
        self.source = replace(source, rows=self._rows(source))

    def _rows(self, source: VectorSource) -> Iterator[VectorRow]:
        for row in source.rows:
            self.count += 1
            yield row
