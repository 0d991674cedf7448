"""`write_vectors`: writes rows to a file in one of the formats; the file appears when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from lsr.errors import QueryError
from lsr.exchange.ciff import write_ciff
from lsr.exchange.line_formats import anserini_lines, jsonl_lines, milvus_lines, opensearch_lines, qdrant_lines
from lsr.exchange.rows import VectorRow, VectorSource
from lsr.output_file import is_stdout, output_file

MAX_SCALE: Final = 1e9
FORMATS: Final = ("jsonl", "arrow", "parquet", "huggingface", "anserini", "ciff", "opensearch", "qdrant", "milvus")
FOLDER: Final = "huggingface"  # the format that is a folder


def write_vectors(source: VectorSource, out: str, format: str, *, scale: float = 100.0) -> int:  # noqa: A002
    """Write all rows to the file `out` (`-`: standard output; huggingface: a new folder) and return their number.

    `scale` multiplies the weights in formats that have integers only (anserini, ciff). An existing file is replaced
    when the new one is complete (output_file.py). Raises QueryError (an invalid `scale`), ValueError (an unknown
    format), OSError.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")
    if not 0 < scale <= MAX_SCALE:
        raise QueryError(f"scale must be above 0 and at most {MAX_SCALE:g}, not {scale:g}", field="scale")
    if format == FOLDER:
        from lsr.exchange.arrow_file import write_dataset

        if is_stdout(out):
            raise QueryError(f"{FOLDER} is a folder: give it with --out", field="out")
        return write_dataset(source, Path(out))
    with output_file(out) as file:
        return _write(source, file, format, scale)


def _write(source: VectorSource, file: BinaryIO, format_name: str, scale: float) -> int:
    if format_name in ("arrow", "parquet"):
        from lsr.exchange.arrow_file import write_arrow, write_parquet

        return (write_arrow if format_name == "arrow" else write_parquet)(source, file)
    if format_name == "ciff":
        return write_ciff(source, file, scale, f"lsr export of {source.vector_name}, weights × {scale:g}")
    read = counted(without_empty(source) if format_name == "milvus" else source)
    lines = {
        "jsonl": jsonl_lines,
        "anserini": lambda rows: anserini_lines(rows, scale),
        "opensearch": opensearch_lines,
        "qdrant": qdrant_lines,
        "milvus": milvus_lines,
    }[format_name]
    for line in lines(read.source):
        file.write(line.encode())
    return read.count


def without_empty(source: VectorSource) -> VectorSource:
    """Return the source without the documents that have no term: Milvus refuses them."""
    return replace(source, rows=(row for row in source.rows if len(row.term_ids)))


def counted(source: VectorSource) -> CountedSource:
    """Return a source that counts the rows read from it."""
    return CountedSource(source)


class CountedSource:
    """A source that counts the rows read from it."""

    def __init__(self, source: VectorSource) -> None:
        self.count = 0
        self.source = replace(source, rows=self._rows(source))

    def _rows(self, source: VectorSource) -> Iterator[VectorRow]:
        for row in source.rows:
            self.count += 1
            yield row
