"""Exact search for many queries in one pass over the documents' rows.

A search per query reads every row, or every list, once for each query. Here the queries are inverted instead, term to
queries, and each document is scored for all of them while it is in cache: the cost is one addition for each posting
that a query and a document share, and one comparison for each pair. For hundreds of queries over a million documents
that takes seconds, where a scan per query takes a minute.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.heap import key_of, offer, threshold_of


@njit(cache=True, nogil=True)
def search_rows(first_doc, indptr, terms, impacts, query_start, query_numbers, query_weights, sums, heaps, sizes):
    """Offer the documents first_doc .. first_doc + n to the heap of each query.

    indptr         int64[n + 1]           terms  int64[nnz], ascending in a row, below n_terms    impacts  float32[nnz]
    query_start    int64[n_terms + 1]     into query_numbers, int64[], and query_weights, float32[]: queries by term
    sums           float64[n_queries], zeroed, and left so
    heaps          int64[n_queries, k]    of which sizes, int64[n_queries], are used; see kernels.heap

    Sums are by ascending term, in float64, rounded once: canonical scores. Oracle: oracle.brute_force.
    """
    n_queries = len(sums)
    thresholds = np.empty(n_queries, dtype=np.float32)
    for q in range(n_queries):
        thresholds[q] = threshold_of(heaps[q], sizes[q])
    for row in range(len(indptr) - 1):
        for j in range(indptr[row], indptr[row + 1]):
            impact = np.float64(impacts[j])
            for p in range(query_start[terms[j]], query_start[terms[j] + 1]):
                sums[query_numbers[p]] += np.float64(query_weights[p]) * impact
        for q in range(n_queries):
            total = sums[q]
            sums[q] = 0.0
            # With an equal score the later document is the larger one, which does not rank higher.
            if np.float32(total) > thresholds[q]:
                sizes[q] = offer(key_of(first_doc + row, np.float32(total)), heaps[q], sizes[q])
                thresholds[q] = threshold_of(heaps[q], sizes[q])
