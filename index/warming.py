"""Compiling ahead: every kernel for every form of segment, so that the first query does not wait."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from index.config import IMPACT_DTYPES, IndexConfig
from index.dense_rows import DenseRows
from index.prepared_rows import score_rows
from index.sparse_index import SparseIndex


def warm_kernels() -> None:
    """Compile or load every kernel that a search may need, for every form of segment: call it before serving.

    Afterwards no search of any index compiles anything. With an empty kernel cache that takes a minute or
    more.
    """
    # More than 65,536 terms are numbered with 32 bits.
    for n_terms in (2, 2**16 + 2):
        weights = np.ones(n_terms + 1, dtype=np.float32)
        terms = np.append(np.arange(n_terms), 0)
        vectors = csr_array((weights, terms, [0, n_terms, n_terms + 1]), shape=(2, n_terms))
        for dtype in IMPACT_DTYPES:
            for lists in ({"exact_lists": False}, {"exact_lists": True}, {"block_maxima": True}):
                config = IndexConfig(n_postings=100, impact_dtype=dtype, short_list=1, **lists)
                SparseIndex.build(vectors, config, threads=1).warm()
            score_rows(vectors, [0], [1.0], impact_dtype=dtype)
    DenseRows.build([np.ones((1, 1), dtype=np.float32)], 1).score([0], [1.0])
