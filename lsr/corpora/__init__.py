"""Documents as users have them on disk: BEIR folders, JSONL, TSV, Parquet, gzip and zstd, stdin, ir-datasets.

`open_corpus("scifact")` finds out what the argument is and returns a `Corpus`; going over it yields every line
of the input as a `CorpusLine`, whose content is a checked `Document` or the `InvalidDocument` that says what is
wrong with that line. A bad line never ends the reading. Nothing is held in memory but the current line or batch.
"""

from lsr.corpora.corpus import Corpus, CorpusLine
from lsr.corpora.opening import FORMATS, holds_vectors, open_corpus

__all__ = ["FORMATS", "Corpus", "CorpusLine", "holds_vectors", "open_corpus"]
