"""Inverting documents: from documents to postings, a range of documents at a time.

* Candidate lists, cut to the largest impacts: a list collects up to twice as many postings as it may keep, then drops
  the smaller half. So memory is bounded by the lists, not by the collection.
* Unpruned postings by windows of documents, for exact search (kernels.exhaustive).
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

from index.kernels.lines import further_lines, further_width


def sort_key(stored):
    """Return 16 bits that compare as the stored impacts do: those of a float16, or the upper half of a float32."""
    return np.int64(stored) if isinstance(stored, np.uint16) else np.int64(np.float32(stored).view(np.uint32)) >> 16


@overload(sort_key, inline="always")
def _sort_key(stored):
    if stored == types.uint16:
        return lambda stored: np.int64(stored)
    return lambda stored: np.int64(np.float32(stored).view(np.uint32)) >> 16


@njit(cache=True, nogil=True)
def collect_largest(first, last, documents, n_keep, start, filled, floors, docs, keys):
    """Add the documents with lines first .. last to the lists that keep each term's `n_keep` largest impacts.

    documents   kernels.lines.Documents
    start    int64[n_terms + 1] into docs, uint32[], and keys, uint16[]: room for all of a list or for 2 * n_keep
    filled   int64[n_terms], how much of each list's room is used
    floors   int64[n_terms], -1 at first: a key that is not larger cannot be among the largest any more

    `docs` are numbers of lines, as everywhere in candidate search, and must come in ascending order. At the end the
    caller cuts each list with `keep_largest`. Ties go to the smaller number. Oracle: oracle.largest_postings.
    """
    line_terms, line_links, impacts = documents.line_terms, documents.line_links, documents.impacts
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    width = further_width(further_terms, further_impacts)
    from_end = further_impacts.shape[1] - width
    for doc in range(first, last):
        for place in range(impacts.shape[1]):
            if impacts[doc, place] == 0:
                break
            term = np.int64(line_terms[doc, place])
            collect(doc, term, sort_key(impacts[doc, place]), n_keep, start, filled, floors, docs, keys)
        line, n_further = further_lines(doc, line_links, further_terms, width)
        for j in range(1, 1 + n_further):
            term = np.int64(further_terms[line + j // width, j % width])
            key = sort_key(further_impacts[line + j // width, from_end + j % width])
            collect(doc, term, key, n_keep, start, filled, floors, docs, keys)


@njit(cache=True, nogil=True)
def collect(doc, term, key, n_keep, start, filled, floors, docs, keys):
    """Add one posting, see `collect_largest`."""
    if key <= floors[term]:
        return
    at = start[term] + filled[term]
    docs[at] = doc
    keys[at] = key
    filled[term] += 1
    if filled[term] == 2 * n_keep:
        stop = start[term + 1]
        floors[term] = keep_largest(docs[start[term] : stop], keys[start[term] : stop], n_keep)
        filled[term] = n_keep


@njit(cache=True, nogil=True)
def keep_largest(docs, keys, n_keep):
    """Move the `n_keep` documents with the largest keys to the front, in their order; return the smallest key of them.

    docs  uint32[n], ascending   keys  uint16[n]      n_keep  int64, 1 .. n

    Ties go to the smaller document. Oracle: oracle.largest_postings.
    """
    # The n_keep-th largest key, high byte first, then low byte.
    counts = np.zeros(256, dtype=np.int64)
    for j in range(len(keys)):
        counts[keys[j] >> 8] += 1
    above = 0
    high = 255
    while above + counts[high] < n_keep:
        above += counts[high]
        high -= 1
    counts[:] = 0
    for j in range(len(keys)):
        if keys[j] >> 8 == high:
            counts[keys[j] & 255] += 1
    low = 255
    while above + counts[low] < n_keep:
        above += counts[low]
        low -= 1
    smallest = (high << 8) | low
    ties = n_keep - above
    out = 0
    for j in range(len(keys)):
        if keys[j] > smallest or (keys[j] == smallest and ties > 0):
            if keys[j] == smallest:
                ties -= 1
            docs[out] = docs[j]
            keys[out] = keys[j]
            out += 1
    return np.int64(smallest)


@njit(cache=True, nogil=True)
def count_postings(lines, documents, counts):
    """Write to counts, int64[n_terms], how many of the documents with these lines, uint32[n], hold each term."""
    line_terms, line_links, impacts = documents.line_terms, documents.line_links, documents.impacts
    further_terms = documents.further_terms
    width = further_width(further_terms, documents.further_impacts)
    counts[:] = 0
    for line in lines:
        for place in range(impacts.shape[1]):
            if impacts[line, place] == 0:
                break
            counts[line_terms[line, place]] += 1
        further, n_further = further_lines(line, line_links, further_terms, width)
        for j in range(1, 1 + n_further):
            counts[further_terms[further + j // width, j % width]] += 1


@njit(cache=True, nogil=True)
def fill_postings(lines, documents, cursors, docs, stored):
    """Write the documents with these lines, uint32[n], numbered 0 .. n, and their impacts at each term's cursor.

    cursors  int64[n_terms], advanced      docs  uint16[]      stored  uint16|float32[]
    """
    line_terms, line_links, impacts = documents.line_terms, documents.line_links, documents.impacts
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    width = further_width(further_terms, further_impacts)
    from_end = further_impacts.shape[1] - width
    for doc in range(len(lines)):
        for place in range(impacts.shape[1]):
            if impacts[lines[doc], place] == 0:
                break
            term = line_terms[lines[doc], place]
            docs[cursors[term]] = doc
            stored[cursors[term]] = impacts[lines[doc], place]
            cursors[term] += 1
        line, n_further = further_lines(lines[doc], line_links, further_terms, width)
        for j in range(1, 1 + n_further):
            term = further_terms[line + j // width, j % width]
            docs[cursors[term]] = doc
            stored[cursors[term]] = further_impacts[line + j // width, from_end + j % width]
            cursors[term] += 1
