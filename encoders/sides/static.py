"""A fixed weight per token, and no model: inference-free queries.

    weight[v] = table[v] if v is in the text, else 0        v: a token, or with `conflate` a term that several share

With `collection_idf` c, a trained table is adjusted to the searched collection: where a term is rarer or more common
than in the training texts (`reference`, their idf), its weight changes by a share of the difference:

    weight[v] = max(table[v] + c * (idf of v in the collection - reference[v]), FLOOR * table[v])

with BM25's idf (encoders.bm25.idf), where the collection is known; otherwise the table is used as it is. See
docs/decisions/0707.

The table is idf (OpenSearch's doc models), learned (SPLADE with static query embeddings), or 1 everywhere (binary:
SPLADE-v3-doc, DeepImpact, SPARTA). Presence counts, with `term_frequency` the number of occurrences tf, with
`average_length` as well BM25's saturation of it, tf / (tf + k1 * (1 - b + b * length / average_length)): a BM25
document. No special tokens are added to the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.bm25 import idf
from encoders.encoder import CorpusStatistics
from encoders.errors import SettingError
from encoders.settings import SideSettings, Windows
from encoders.sides.rows import from_rows, prune
from encoders.text.tokenization import Tokenization

FLOOR = 0.05  # share of its trained weight that a term keeps, however common it is


class StaticSide:
    """Looks weights up in a table, in microseconds."""

    dtype = None  # there is no model

    def __init__(
        self,
        tokenization: Tokenization,
        settings: SideSettings,
        table: NDArray[np.float32],
        reference: NDArray[np.float32] | None = None,
    ) -> None:
        """`table` and `reference` are float32 [n_terms]. Raises SettingError for `collection_idf` without reference."""
        if settings.collection_idf and reference is None:
            raise SettingError("collection_idf needs the idf of the training texts, which this model does not have")
        self.reference = reference
        self.tokenization = tokenization
        self.settings = settings
        # float32 [n_terms]
        self.table = table.copy()
        if settings.zero_special_ids:
            self.table[[i for i in tokenization.special_ids if i < len(table)]] = 0.0

    def encode(self, texts: Sequence[str], statistics: CorpusStatistics | None = None) -> csr_array:
        """Return float32 csr_array [len(texts), len(table)]; weights of zero or less are left out.

        `statistics` are those of the searched collection, where it is known.
        """
        rows, weights = [], []
        for terms, factors in self.occurrences(texts):
            kept = self.table[terms] > 0
            rows.append(terms[kept])
            own = self._weights(terms[kept], statistics)
            weights.append(own * factors[kept] if self.settings.term_frequency else own)
        return prune(from_rows(rows, weights, len(self.table)), self.settings)

    def occurrences(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield each text's distinct terms, ascending, and the factor of each: 1, tf, or its saturation."""
        settings = self.settings
        truncate = settings.windows is Windows.TRUNCATE
        for ids in self.tokenization.ids(texts, special_tokens=False, truncate=truncate):
            found = self.tokenization.terms(ids)
            if not settings.term_frequency:
                terms = np.array(sorted(set(found)), dtype=np.int64)
                yield terms, np.ones(len(terms), dtype=np.float32)
                continue
            terms, counts = np.unique(np.array(found, dtype=np.int64), return_counts=True)
            if settings.average_length is None:
                yield terms, counts.astype(np.float32)
            else:
                length = 1.0 - settings.b + settings.b * len(ids) / settings.average_length
                yield terms, (counts / (counts + settings.k1 * length)).astype(np.float32)

    def _weights(self, terms: NDArray[np.int64], statistics: CorpusStatistics | None) -> NDArray[np.float32]:
        own = self.table[terms]
        if self.reference is None or not self.settings.collection_idf or statistics is None or len(terms) == 0:
            return own
        difference = idf(terms, statistics) - self.reference[terms]
        adapted = np.maximum(own + self.settings.collection_idf * difference, FLOOR * own)
        weights: NDArray[np.float32] = adapted.astype(np.float32)
        return weights
