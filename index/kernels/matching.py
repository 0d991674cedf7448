"""Which documents share a term with a query: for counting matches, not for ranking them."""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.exhaustive import WINDOW, document_at, find_entry
from index.kernels.lines import further_lines, further_width


@njit(cache=True, nogil=True)
def mark_in_windows(first, last, n_docs, line_docs, window_entry, entry_terms, entry_start, docs, terms, found):
    """Set found[document] for the documents of windows first .. last that hold one of the terms.

    line_docs, window_entry, entry_terms, entry_start, docs   see `exhaustive.search_windows`
    terms    uint32[m], the query's in the segment's numbers        found  bool[n_docs]

    Oracle: oracle.canonical_scores, where it is above 0.
    """
    for window in range(first, last):
        base = window * WINDOW
        for i in range(len(terms)):
            entry = find_entry(entry_terms, window_entry[window], window_entry[window + 1], terms[i])
            if entry >= 0:
                for j in range(entry_start[entry], entry_start[entry + 1]):
                    # A damaged document stays inside the collection.
                    found[document_at(min(base + np.int64(docs[j]), n_docs - 1), line_docs)] = True


@njit(cache=True, nogil=True)
def mark_in_lines(first, last, documents, line_docs, wanted, found):
    """Set found[document] for the documents of lines first .. last that hold a wanted term: without postings.

    documents  kernels.lines.Documents        line_docs  uint32[n_docs]
    wanted     bool[power of two above every term]              found  bool[n_docs]

    Oracle: oracle.canonical_scores, where it is above 0.
    """
    mask = np.int64(len(wanted) - 1)
    line_terms, impacts = documents.line_terms, documents.impacts
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    width = further_width(further_terms, further_impacts)
    for line in range(first, last):
        matched = False
        for p in range(impacts.shape[1]):
            matched |= wanted[np.int64(line_terms[line, p]) & mask] and impacts[line, p] != 0
        if not matched:
            row, left = further_lines(line, documents.line_links, further_terms, width)
            place = np.int64(1)
            while left > 0 and not matched:
                stop = min(width, place + left)
                for p in range(place, stop):
                    matched |= wanted[np.int64(further_terms[row, p]) & mask]
                left -= stop - place
                place = np.int64(0)
                row += 1
        if matched:
            found[min(np.int64(line_docs[line]), np.int64(len(found)) - 1)] = True
