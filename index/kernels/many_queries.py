"""Exact search for many queries in one pass over the documents' rows.

Searching queries one by one reads every row, or every list, once for each. Here the queries are inverted instead, term
to queries, and each document is held against all of them while it is in cache: what is paid for is the postings that
queries and documents share, and one comparison for each pair. For hundreds of queries over a million documents that
is seconds where a scan for each would take a minute.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.heap import key_of, offer, threshold_of


@njit(cache=True, nogil=True)
def search_rows(first_doc, indptr, terms, impacts, query_start, query_numbers, query_weights, sums, heaps, sizes):
    """Offer the documents first_doc .. first_doc + n to the heap of each query.

    indptr         int64[n + 1]           terms  int64[nnz], rising in a row, below n_terms    impacts  float32[nnz]
    query_start    int64[n_terms + 1]     into query_numbers, int64[], and query_weights, float32[]: who asks for a term
    sums           float64[n_queries], zeroed, and left so
    heaps          int64[n_queries, k]    of which sizes, int64[n_queries], are used: score bits above, the document
                   below as 2**32 - 1 - document, so that of equal scores the smaller document is the larger number

    Sums go by rising term, in float64, rounded once: canonical scores. Oracle: oracle.brute_force.
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
            # An equal score comes with a larger document, which is no better.
            if np.float32(total) > thresholds[q]:
                sizes[q] = offer(key_of(first_doc + row, np.float32(total)), heaps[q], sizes[q])
                thresholds[q] = threshold_of(heaps[q], sizes[q])
