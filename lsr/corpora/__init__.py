"""Readers of corpora: BEIR folders, JSONL, TSV, CSV, Parquet, Arrow, gzip and zstd, pipes, ir-datasets.

`open_corpus("scifact")` detects the kind of its argument and returns a `Corpus`. Iterating over it yields every line of
the input as a `CorpusLine`, whose content is a checked `Document`, or the `InvalidDocument` that describes the error.
An invalid line never stops the reading. Only the current line or batch is in memory.
"""

from lsr.corpora.corpus import Corpus, CorpusLine
from lsr.corpora.fields import Fields
from lsr.corpora.opening import FORMATS, brings_vectors, has_text_cells, holds_vectors, open_corpus

__all__ = [
    "FORMATS",
    "Corpus",
    "CorpusLine",
    "Fields",
    "brings_vectors",
    "has_text_cells",
    "holds_vectors",
    "open_corpus",
]
