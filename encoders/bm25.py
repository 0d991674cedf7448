"""BM25 as a sparse encoder: saturated term frequency in the document, idf in the query.

    impact(d, t) = tf / (tf + k1 * (1 - b + b * length(d) / average_length))          at indexing time
    weight(q, t) = qtf * ln(1 + (N - df + 0.5) / (df + 0.5))                          at query time

Their dot product is BM25 as in Lucene (Robertson & Zaragoza 2009 without the constant factor k1 + 1, which changes no
ranking). `average_length` is frozen before the first document is encoded, and idf is computed from the live document
frequencies at query time, so a growing collection changes no stored number.

`length` is the length as Lucene stores it, in one byte: from 40 on, only its four leading bits count. With that, the
published figures are reproduced to the fourth digit: see docs/decisions/0200-bm25-as-lucene.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.encoder import CorpusStatistics
from encoders.errors import SettingError, StatisticsMissing
from encoders.text.analysis import ANALYSIS, EnglishAnalysis
from encoders.text.checks import batches, check_texts
from encoders.text.words import Word
from encoders.vocabulary import GrowingVocabulary

_BATCH = 512  # texts
_LARGEST = 1e9  # of any setting: keeps the arithmetic finite


class BM25Encoder:
    """BM25 over a vocabulary that grows with the documents.

    Encoding documents needs `average_length` (in terms, stop words left out): give it, or call `measure` once.
    """

    name = "bm25"

    def __init__(self, *, k1: float = 0.9, b: float = 0.4, average_length: float | None = None) -> None:
        self._k1 = _number("k1", k1, lowest=0.0)
        self._b = _number("b", b, lowest=0.0, highest=1.0)
        self._average_length = None if average_length is None else _number("average_length", average_length, lowest=1.0)
        self._vocabulary = GrowingVocabulary()
        self._analysis = EnglishAnalysis()
        self._freezing = threading.Lock()

    @property
    def vocabulary(self) -> GrowingVocabulary:
        """The terms seen so far. A collection stores them, and restores them with `vocabulary.add` before any call."""
        return self._vocabulary

    @property
    def average_length(self) -> float | None:
        """Mean number of terms in a document; None until given or measured."""
        return self._average_length

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that rebuild this encoder: `load_encoder("bm25", **settings)`, without its vocabulary."""
        return {"k1": self._k1, "b": self._b, "average_length": self._average_length}

    @property
    def looks_queries_up(self) -> bool:
        """True: a query's weights are its terms' idf."""
        return True

    @property
    def fingerprint(self) -> str:
        """A hash of the analysis and the settings; it changes when the average length is measured."""
        parts = json.dumps({"analysis": ANALYSIS, **self.settings}, sort_keys=True)
        return "bm25-" + hashlib.sha256(parts.encode()).hexdigest()[:32]

    @property
    def dtype(self) -> str | None:
        """None: there is no model."""
        return None

    def prepare_documents(self) -> None:
        """Do nothing: there is no model to load."""

    def measure(self, texts: Iterable[str]) -> float:
        """Read `texts` once, at constant memory, and freeze their average length; return it.

        A corpus of empty texts measures as 1. Raises SettingError if the length is frozen already, since stored impacts
        depend on it, and StatisticsMissing if there is no text.
        """
        count = total = 0
        for batch in batches(texts, _BATCH):
            count += len(batch)
            total += sum(len(self._analysis.terms(text)) for text in batch)
        if not count:
            raise StatisticsMissing("there is no text to measure the average length on")
        with self._freezing:
            if self._average_length is not None:
                raise SettingError(f"average_length is frozen at {self._average_length:g}; it is measured only once")
            self._average_length = max(total / count, 1.0)
            return self._average_length

    def forget_measure(self) -> None:
        """Undo `measure`: no stored impact may depend on it."""
        with self._freezing:
            self._average_length = None

    def encode_documents(self, texts: Sequence[str]) -> csr_array:
        """Return impacts in [0, 1), float32 csr_array [len(texts), len(vocabulary)]; adds new terms."""
        average_length = self._average_length
        if average_length is None:
            raise StatisticsMissing("BM25 needs the average document length: give average_length, or measure a corpus")
        analysed = [self._analysis.terms(text) for text in check_texts(texts)]
        rows, ids, frequencies = _count(analysed, self._vocabulary.add([t for terms in analysed for t in terms]))
        lengths = _length_in_one_byte(np.fromiter(map(len, analysed), dtype=np.int64, count=len(analysed)))
        saturation = self._k1 * (1.0 - self._b + self._b * lengths / average_length)
        return self._matrix(rows, ids, frequencies / (frequencies + saturation[rows]), len(analysed))

    def encode_queries(self, texts: Sequence[str], statistics: CorpusStatistics | None = None) -> csr_array:
        """Return term frequency times idf, float32 csr_array [len(texts), len(vocabulary)]; unknown terms are left out.

        Raises StatisticsMissing without `statistics`, from which the idf is computed.
        """
        if statistics is None:
            raise StatisticsMissing("BM25 needs the collection's document frequencies to weight a query")
        analysed = [self._analysis.terms(text) for text in check_texts(texts)]
        rows, ids, frequencies = _count(analysed, self._vocabulary.ids([t for terms in analysed for t in terms]))
        return self._matrix(rows, ids, frequencies * idf(ids, statistics), len(analysed))

    def encode_document_batches(self, texts: Iterable[str]) -> Iterator[csr_array]:
        """Yield the matrices of consecutive batches; a later one may be wider, since the vocabulary grows."""
        for batch in batches(texts, _BATCH):
            yield self.encode_documents(batch)

    def terms(self, text: str) -> list[str]:
        """Return the analysed terms of `text`, known or not; none for stop words."""
        return list(self._analysis.terms(check_texts([text])[0]))

    def input_term_ids(self, text: str) -> NDArray[np.int64]:
        """Return the distinct numbers of the known terms in `text`, ascending; BM25 has no expansion."""
        ids = np.unique(self._vocabulary.ids(self._analysis.terms(check_texts([text])[0])))
        return ids[ids >= 0]

    def words(self, text: str, term_ids: Collection[int] | None = None) -> list[Word]:
        """Return the words of `text` with their positions; stop words and unknown words have no term.

        With `term_ids`, only the words that became one of those: much cheaper than all.
        """
        checked = check_texts([text])[0]
        if term_ids is not None:
            wanted = dict(zip(self._vocabulary.tokens(list(term_ids)), term_ids, strict=True))
            return [Word(start, end, (wanted[term],)) for start, end, term in self._analysis.words(checked, wanted)]
        found = self._analysis.words(checked)
        ids = self._vocabulary.ids([term for _, _, term in found]).tolist()
        return [Word(start, end, (i,) if i >= 0 else ()) for (start, end, _), i in zip(found, ids, strict=True)]

    def _matrix(
        self, rows: NDArray[np.int64], ids: NDArray[np.int64], weights: NDArray[np.float64], n_rows: int
    ) -> csr_array:
        indptr = np.searchsorted(rows, np.arange(n_rows + 1))
        # The width is read last: another thread may have added terms, and no thread removes any.
        return csr_array((weights.astype(np.float32), ids, indptr), shape=(n_rows, len(self._vocabulary)))


def _count(
    analysed: list[list[str]], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (row, term id, frequency) of each distinct known term of each text, by ascending row, then ascending id.

    `ids` int64: the term ids of all texts one after the other, -1 for an unknown one.
    """
    rows = np.repeat(np.arange(len(analysed), dtype=np.int64), [len(terms) for terms in analysed])
    known = ids >= 0
    # Row and id in one integer make counting a one-dimensional sort: 2**31 rows, 2**32 terms.
    keys, frequencies = np.unique((rows[known] << 32) | ids[known], return_counts=True)
    return keys >> 32, keys & 0xFFFFFFFF, frequencies.astype(np.float64)


def _length_in_one_byte(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each length after Lucene's SmallFloat.intToByte4 and back: exact below 40.

    Lengths from 24 on are kept, less 24, as the four leading bits and a shift.
    """
    above = np.maximum(lengths - 24, 0)
    # frexp's exponent is the number of bits; exact, since a length is far below 2**53.
    shift = np.maximum(np.frexp(above.astype(np.float64))[1].astype(np.int64) - 4, 0)
    return np.where(lengths < 24, lengths, 24 + ((above >> shift) << shift))


def idf(ids: NDArray[np.int64], statistics: CorpusStatistics) -> NDArray[np.float64]:
    """Return ln(1 + (N - df + 0.5) / (df + 0.5)), float64[len(ids)]."""
    count = float(statistics.document_count)
    frequencies = np.asarray(statistics.document_frequencies(ids), dtype=np.float64)
    # Frequencies and count may be read at different moments while documents are written: never below zero.
    return np.log1p((np.maximum(count - frequencies, 0.0) + 0.5) / (frequencies + 0.5))


def _number(name: str, value: object, *, lowest: float, highest: float = math.inf) -> float:
    """Return `value` as a float; raise SettingError if it is not a number in [lowest, highest]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= min(highest, _LARGEST):
        allowed = f"at least {lowest:g}" if highest == math.inf else f"between {lowest:g} and {highest:g}"
        raise SettingError(f"{name} must be a number {allowed}, got {value!r}")
    return float(value)
