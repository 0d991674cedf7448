"""Approximate search of several queries in one call: candidates (kernels.candidates), then the best of them scored
canonically (kernels.forward).

One call, because each costs some microseconds to enter, and what belongs to the documents array by array, because a
tuple of arrays takes Python 8 to 30 microseconds to hand over.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.candidates import find_all_candidates
from index.kernels.forward import rank_candidates
from index.kernels.lines import Documents


@njit(cache=True, nogil=True)
def search_approximately(
    query_start, query_terms, query_weights, query_cut, heap_factor, beta, allowed, line_docs,
    scale, list_block, list_summary, block_start, block_docs, summary_terms, summary_bytes,
    line_terms, line_bytes, line_links, impacts, further_terms, further_impacts, steps_per_unit, neighbours, n_knn,
    table, per_unit, visited, epoch, estimates, order, batch, firsts, heap_scores, places, ids, scores, found, counters,
):  # fmt: skip
    """Write each query's best documents to ids int64[n, k], scores float32[n, k], and how many to found int64[n].

    line_terms .. steps_per_unit   as in kernels.lines.Documents      heap_scores  int64[as many candidates as to rank]
    The rest as in `find_all_candidates` and `rank_candidates`, whose oracles define this too.
    """
    documents = Documents(
        line_terms, line_bytes, line_links, impacts, further_terms, further_impacts, steps_per_unit
    )  # fmt: skip
    n = len(found)
    candidates = np.empty((n, len(heap_scores)), dtype=np.uint32)
    n_candidates = np.empty(n, dtype=np.int64)
    find_all_candidates(
        query_start, query_terms, query_weights, query_cut, heap_factor, beta, allowed, line_docs,
        scale, list_block, list_summary, block_start, block_docs, summary_terms, summary_bytes,
        documents, neighbours, n_knn,
        table, per_unit, visited, epoch, estimates, order, batch, firsts, heap_scores, candidates, n_candidates,
        counters,
    )  # fmt: skip
    rank_candidates(
        query_start, query_terms, query_weights, candidates, n_candidates, line_docs, documents, places, ids, scores,
        found,
    )  # fmt: skip
