"""One query, checked and renumbered in one pass. Nearly every query comes this way, so it is a kernel.

NumPy needs a dozen small calls for it, which together cost as much as a fast search.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def number_query(ids, given, lookup_ids, lookup_numbers, frequencies, terms, weights, totals):
    """Write the query in the segment's numbers to `terms` and `weights`; return how many, or -1 if it is not plain.

    ids             int64[m], collection term ids      given  float32[m]
    lookup_ids      uint32[n_terms], ascending            lookup_numbers  uint32[n_terms]
    frequencies     uint32[n_terms], by the segment's number
    terms, weights  uint32[m], float32[m]
    totals          float64[2]: the sum of the weights, and of the frequencies, of the terms written

    Plain: ids ascend and are not negative, weights are from 0 to 1e12. Terms that the segment does not hold,
    and weights of 0, are left out. Oracle: oracle.numbered_query.
    """
    n = 0
    n_terms = len(lookup_ids)
    last = np.int64(-1)
    weight_sum = 0.0
    postings = 0.0
    low = 0
    for i in range(len(ids)):
        # False for NaN and infinity; 1e12 is index.vectors.MAX_WEIGHT.
        if ids[i] <= last or not (given[i] >= 0.0 and given[i] <= np.float32(1e12)):
            return -1
        last = ids[i]
        if given[i] == 0.0:
            continue
        # The ids ascend, so the search for each starts at the place of the one before.
        high = n_terms
        while low < high:
            middle = (low + high) >> 1
            if np.int64(lookup_ids[middle]) < last:
                low = middle + 1
            else:
                high = middle
        if low < n_terms and np.int64(lookup_ids[low]) == last:
            term = lookup_numbers[low]
            terms[n] = term
            weights[n] = given[i]
            weight_sum += np.float64(given[i])
            postings += np.float64(frequencies[term])
            n += 1
    totals[0] = weight_sum
    totals[1] = postings
    return n
