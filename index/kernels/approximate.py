"""Approximate search of several queries in one call: candidates, then the best of them scored canonically.

One call, because each costs some microseconds to enter. Arrays are passed one at a time, because a tuple of arrays
takes 8 to 30 microseconds to unpack (docs/decisions/0111); the tuples are built here.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.candidate_arrays import (
    AllowedDocuments,
    CandidateLists,
    CandidateParameters,
    CandidateScratch,
    Queries,
)
from index.kernels.candidates import find_all_candidates
from index.kernels.forward import rank_candidates
from index.kernels.lines import Documents


@njit(cache=True, nogil=True)
def search_approximately(
    query_start, query_terms, query_weights,
    query_cut, heap_factor, beta, n_knn,
    allowed, line_docs,
    list_block, list_summary, block_start, block_docs, summary_terms, summary_bytes,
    line_terms, line_bytes, line_links, impacts, further_terms, further_impacts, steps_per_unit,
    scale, neighbours,
    per_step, per_unit, visited, epoch, estimates, order, batch, firsts, heap, counters,
    places, ids, scores, found,
):  # fmt: skip
    """Write each query's best documents to ids int64[n, k], scores float32[n, k], and how many to found int64[n].

    A line of arguments is one tuple: Queries, CandidateParameters (heap_factor and beta float32), AllowedDocuments,
    CandidateLists, all of candidate_arrays; Documents of kernels.lines; two arrays as in `find_candidates`;
    CandidateScratch, whose heap is as long as there are candidates to rank; the arguments of `rank_candidates`.

    Oracles: those of `find_candidates` and `rank_candidates`.
    """
    queries = Queries(query_start, query_terms, query_weights)
    documents = Documents(line_terms, line_bytes, line_links, impacts, further_terms, further_impacts, steps_per_unit)
    n = len(found)
    candidates = np.empty((n, len(heap)), dtype=np.uint32)
    n_candidates = np.empty(n, dtype=np.int64)
    find_all_candidates(
        queries,
        CandidateParameters(query_cut, heap_factor, beta, n_knn),
        CandidateLists(list_block, list_summary, block_start, block_docs, summary_terms, summary_bytes),
        documents,
        scale,
        neighbours,
        AllowedDocuments(allowed, line_docs),
        CandidateScratch(per_step, per_unit, visited, epoch, estimates, order, batch, firsts, heap, counters),
        candidates,
        n_candidates,
    )
    rank_candidates(queries, candidates, n_candidates, line_docs, documents, places, ids, scores, found)
