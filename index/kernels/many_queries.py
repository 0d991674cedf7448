"""Exact search for many queries in one pass over the documents' rows.

Searching queries one by one reads every row, or every list, once for each. Here the queries are inverted instead, term
to queries, and each document is held against all of them while it is in cache: what is paid for is the postings that
queries and documents share, and one comparison for each pair. For hundreds of queries over a million documents that
is seconds where a scan for each would take a minute.
"""

from __future__ import annotations

import numpy as np
from numba import njit


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
    k = heaps.shape[1]
    n_queries = len(sums)
    bars = np.zeros(n_queries, dtype=np.float32)
    for q in range(n_queries):
        if sizes[q] == k:
            bars[q] = np.uint32(heaps[q, 0] >> 32).view(np.float32)
    for row in range(len(indptr) - 1):
        for j in range(indptr[row], indptr[row + 1]):
            impact = np.float64(impacts[j])
            for p in range(query_start[terms[j]], query_start[terms[j] + 1]):
                sums[query_numbers[p]] += np.float64(query_weights[p]) * impact
        below = np.int64(0xFFFFFFFF) - (first_doc + row)
        for q in range(n_queries):
            total = sums[q]
            sums[q] = 0.0
            # An equal score comes with a larger document, which is no better.
            if np.float32(total) > bars[q]:
                key = (np.int64(np.float32(total).view(np.uint32)) << 32) | below
                sizes[q] = _offer(key, heaps[q], sizes[q])
                if sizes[q] == k:
                    bars[q] = np.uint32(heaps[q, 0] >> 32).view(np.float32)


@njit(cache=True, nogil=True)
def _offer(key, heap, size):
    """Put the number on the heap, smallest at the root, if there is room or it beats the root."""
    n = len(heap)
    if size < n:
        place = size
        while place > 0 and heap[(place - 1) >> 1] > key:
            heap[place] = heap[(place - 1) >> 1]
            place = (place - 1) >> 1
        heap[place] = key
        return size + 1
    if key > heap[0]:
        place = 0
        while 2 * place + 1 < n:
            child = 2 * place + 1
            if child + 1 < n and heap[child + 1] < heap[child]:
                child += 1
            if heap[child] >= key:
                break
            heap[place] = heap[child]
            place = child
        heap[place] = key
    return size
