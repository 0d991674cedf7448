"""A fixed weight per token, and no model: inference-free queries.

    weight[v] = table[v] if v is in the text, else 0        v: a token, or with `conflate` a term that several share

With `collection_idf` c, a trained table is adjusted to the searched collection: where a term is rarer or more common
than in the training texts (`reference`, their idf), its weight changes by a share of the difference:

    weight[v] = max(table[v] + c * (idf of v in the collection - reference[v]), FLOOR * table[v])

with BM25's idf (encoders.bm25.idf), where the collection is known; otherwise the table is used as it is. See
docs/decisions/0707.

The table is idf (OpenSearch's doc models), learned (SPLADE with static query embeddings), or 1 everywhere (binary:
SPLADE-v3-doc, DeepImpact, SPARTA). Presence counts, with `term_frequency` the number of occurrences, and no special
tokens are added to the text.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        truncate = self.settings.windows is Windows.TRUNCATE
        texts_terms = [
            self.tokenization.terms(ids)
            for ids in self.tokenization.ids(texts, special_tokens=False, truncate=truncate)
        ]
        rows = [np.array(sorted(set(terms)), dtype=np.int64) for terms in texts_terms]
        rows = [row[self.table[row] > 0] for row in rows]
        weights = [self._weights(row, statistics) for row in rows]
        if self.settings.term_frequency:
            weights = [
                weight * np.array([terms.count(term) for term in row.tolist()], dtype=np.float32)
                for row, weight, terms in zip(rows, weights, texts_terms, strict=True)
            ]
        return prune(from_rows(rows, weights, len(self.table)), self.settings)

    def _weights(self, terms: NDArray[np.int64], statistics: CorpusStatistics | None) -> NDArray[np.float32]:
        own = self.table[terms]
        if self.reference is None or not self.settings.collection_idf or statistics is None or len(terms) == 0:
            return own
        difference = idf(terms, statistics) - self.reference[terms]
        adapted = np.maximum(own + self.settings.collection_idf * difference, FLOOR * own)
        weights: NDArray[np.float32] = adapted.astype(np.float32)
        return weights
