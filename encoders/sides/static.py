"""A fixed weight a token, and no model: inference-free queries.

    weight[v] = table[v] if the text holds v, else 0        v: a token, or with `conflate` a term that several share

The table is idf (OpenSearch's doc models), learned (SPLADE with static query embeddings), or 1 everywhere (binary:
SPLADE-v3-doc, DeepImpact, SPARTA). Presence counts, not frequency, and the text gets no special tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.rows import from_rows, prune
from encoders.sides.settings import SideSettings, Windows
from encoders.tokenization import Tokenization


class StaticSide:
    """Weights looked up in a table. Takes microseconds."""

    def __init__(self, tokenization: Tokenization, settings: SideSettings, table: NDArray[np.float32]) -> None:
        self.tokenization = tokenization
        self.settings = settings
        # float32 [n_terms]
        self.table = table.copy()
        if settings.zero_special_ids:
            self.table[[i for i in tokenization.special_ids if i < len(table)]] = 0.0

    def encode(self, texts: Sequence[str]) -> csr_array:
        """Return float32 csr_array [len(texts), len(table)]; weights of zero or less are left out."""
        truncate = self.settings.windows is Windows.TRUNCATE
        rows = [
            np.array(sorted(set(self.tokenization.terms(ids))), dtype=np.int64)
            for ids in self.tokenization.ids(texts, special_tokens=False, truncate=truncate)
        ]
        rows = [row[self.table[row] > 0] for row in rows]
        return prune(from_rows(rows, [self.table[row] for row in rows], len(self.table)), self.settings)
