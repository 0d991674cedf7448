"""Compiling ahead: every kernel for every form of segment, so that the first query does not wait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from index.arrays.new_arrays import ArraysInMemory
from index.arrays.segment import BLOCK_MAXIMA
from index.building.unpruned_postings import build_block_maxima
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
            for exact_lists in (False, True):
                config = IndexConfig(n_postings=100, impact_dtype=dtype, short_list=1, exact_lists=exact_lists)
                index = SparseIndex.build(vectors, config, threads=1)
                index.warm()
            _with_block_maxima(index).warm()
            score_rows(vectors, [0], [1.0], impact_dtype=dtype)
    DenseRows.build([np.ones((1, 1), dtype=np.float32)], 1).score([0], [1.0])


def _with_block_maxima(index: SparseIndex) -> SparseIndex:
    """Return an index whose arrays have the types of one with block maxima; a build would order its documents, too,
    which takes seconds for many terms."""
    segment, memory = index._segment, ArraysInMemory()
    build_block_maxima(segment.windows, segment.n_docs, segment.frequencies.astype(np.int64), segment.scale, memory)
    for name in BLOCK_MAXIMA:
        memory.arrays[name].setflags(write=False)
    arrays = memory.arrays
    segment = replace(
        segment,
        superblock_starts=arrays["superblock_starts"],
        block_maxima=arrays["block_maxima"],
    )
    return SparseIndex(segment, index.config, None)
