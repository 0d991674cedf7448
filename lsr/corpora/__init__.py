"""Readers of corpora: BEIR folders, JSONL, TSV, Parquet, gzip and zstd, stdin, ir-datasets.

`open_corpus("scifact")` detects the kind of its argument and returns a `Corpus`. Iterating over it yields every line of
the input as a `CorpusLine`, whose content is a checked `Document`, or the `InvalidDocument` that describes the error.
An invalid line never stops the reading. Only the current line or batch is in memory.
"""

from lsr.corpora.corpus import Corpus, CorpusLine
from lsr.corpora.opening import FORMATS, holds_vectors, open_corpus

__all__ = ["FORMATS", "Corpus", "CorpusLine", "holds_vectors", "open_corpus"]
