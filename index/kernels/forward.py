"""Scoring documents: the canonical dot product, the score of every result.

A document's score is the sum over its terms, by ascending collection term id, of weight * impact in float64, rounded
once to float32. Each product is exact in float64 (24 bits times 24), so the result depends only on the numbers.

A document's lines hold its terms by descending impact (kernels.lines). To add its few matching terms in the right
order, each product is written to the term's position in the query, whose terms ascend: `places` holds, for each of the
segment's terms, 1 + its position in the query, or 0. Adding the zeros of the other positions changes no sum.

Impacts are float32, or float16 as its bits in uint16.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.heap import best_of, key_of
from index.kernels.lines import further_lines, further_width, impact_value, prefetch_further
from index.kernels.prefetching import prefetch

_LINES_AHEAD = 10
_DOCUMENTS_AHEAD = 3


@njit(cache=True, nogil=True)
def score_rows(indptr, terms, impacts, table, scores):
    """Write the canonical score of each row to `scores`, float32[n]; -1 for one that shares no term.

    indptr  int64[n + 1]      terms  uint32[nnz], by ascending collection term id in a row
    impacts uint16 (float16 bits)|float32[nnz]      table  float32[every term]; the query's weights

    Oracle: oracle.canonical_scores.
    """
    for i in range(len(scores)):
        total = 0.0
        for j in range(indptr[i], indptr[i + 1]):
            total += np.float64(table[terms[j]]) * np.float64(impact_value(impacts[j]))
        scores[i] = np.float32(total) if total > 0.0 else np.float32(-1.0)


@njit(cache=True, nogil=True)
def score_document(doc, documents, places, weights, products):
    """Return the canonical score of a document as a float64, before rounding; 0 if it shares no term.

    doc       the number of its line      documents  kernels.lines.Documents
    places    int32[power of two above every term], see above      weights  float32[m], the query's
    products  float64[at least m], zeroed, and left so

    A damaged term reads a wrong weight, a damaged link another document's terms, never memory past the arrays.
    Oracle: oracle.canonical_scores.
    """
    line_terms, impacts = documents.line_terms, documents.impacts
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    mask = np.int64(len(places) - 1)
    matched = False
    for p in range(impacts.shape[1]):
        place = places[np.int64(line_terms[doc, p]) & mask]
        # Unused places name term 0, with an impact of 0.
        if place > 0 and impacts[doc, p] != 0:
            products[place - 1] = np.float64(weights[place - 1]) * np.float64(impact_value(impacts[doc, p]))
            matched = True
    width = further_width(further_terms, further_impacts)
    from_end = further_impacts.shape[1] - width
    line, left = further_lines(doc, documents.line_links, further_terms, width)
    first = np.int64(1)
    while left > 0:
        stop = min(width, first + left)
        for p in range(first, stop):
            place = places[np.int64(further_terms[line, p]) & mask]
            if place > 0:
                impact = impact_value(further_impacts[line, from_end + p])
                products[place - 1] = np.float64(weights[place - 1]) * np.float64(impact)
                matched = True
        left -= stop - first
        first = np.int64(0)
        line += 1
    total = 0.0
    if matched:
        for i in range(len(weights)):
            total += products[i]
            products[i] = 0.0
    return total


@njit(cache=True, nogil=True)
def score_documents(lines, documents, terms, weights, places, scores):
    """Write the canonical score of each document, by its line uint32[n], to scores; -1 if it shares no term.

    terms   uint32[m], the query's in the segment's numbers, by ascending collection term id   weights  float32[m]
    places  as in `score_document`, zeroed, and left so                                         scores   float32[n]

    Oracle: oracle.canonical_scores.
    """
    products = np.zeros(len(terms), dtype=np.float64)
    for i in range(len(terms)):
        places[terms[i]] = i + 1
    for i in range(len(lines)):
        if i + _LINES_AHEAD < len(lines):
            prefetch(documents.line_links, np.int64(lines[i + _LINES_AHEAD]))
        if i + _DOCUMENTS_AHEAD < len(lines):
            prefetch_document(np.int64(lines[i + _DOCUMENTS_AHEAD]), documents)
        total = score_document(lines[i], documents, places, weights, products)
        scores[i] = np.float32(total) if total > 0.0 else np.float32(-1.0)
    for i in range(len(terms)):
        places[terms[i]] = 0


@njit(cache=True, nogil=True)
def scan_documents(first, threshold, documents, scale, terms, weights, places, bounds, allowed, line_docs, scores):
    """Write the canonical scores of the documents with lines first .. first + n to `scores`; -1 for no match.

    threshold   float32; a document that cannot reach it may get -1, too
    scale       float32[n_terms]; impact of one step of a sketch
    terms, weights, places   as in `score_documents`
    bounds      float32[as long as places], zeroed, and left so
    allowed     bool[n_docs], or bool[0] for every document     line_docs  uint32[n_docs], the document of each line
    scores      float32[n]

    Nearly every document is dropped by its sketch, which bounds its score: a term of the sketch has at most half a step
    more impact than the sketch says, another term has no larger impact than the sketch's last. The bound is raised by
    1/100,000 against rounding. Oracle: oracle.canonical_scores.
    """
    mask = np.int64(len(places) - 1)
    line_terms, line_bytes = documents.line_terms, documents.line_bytes
    width = documents.impacts.shape[1]
    steps_at = 60 - width
    everything = len(allowed) == 0
    products = np.zeros(len(terms), dtype=np.float64)
    total_weight = np.float32(0.0)
    half = np.float32(0.0)
    for i in range(len(terms)):
        places[terms[i]] = i + 1
        bounds[terms[i]] = weights[i] * scale[terms[i]]
        half += np.float32(0.5) * bounds[terms[i]]
        total_weight += weights[i]
    enough = threshold * np.float32(1.0 - 1e-5) - half
    last = len(scale) - 1
    for i in range(len(scores)):
        doc = first + i
        scores[i] = -1.0
        if not (everything or allowed[min(np.int64(line_docs[doc]), np.int64(len(allowed)) - 1)]):
            continue
        if threshold > 0.0:
            bound = np.float32(0.0)
            for p in range(width):
                bound += bounds[np.int64(line_terms[doc, p]) & mask] * np.float32(line_bytes[doc, steps_at + p])
            steps = np.float32(line_bytes[doc, 59])
            if steps > 0.0:
                bound += (
                    total_weight * (steps + np.float32(0.5)) * scale[min(np.int64(line_terms[doc, width - 1]), last)]
                )
            if bound < enough:
                continue
        total = score_document(doc, documents, places, weights, products)
        if total > 0.0:
            scores[i] = np.float32(total)
    for i in range(len(terms)):
        places[terms[i]] = 0
        bounds[terms[i]] = 0


@njit(cache=True, nogil=True, inline="always")
def prefetch_document(doc, documents):
    """Prefetch a document's impacts and its further lines; its line, which says where these are, is read now."""
    prefetch(documents.impacts, doc)
    prefetch_further(doc, documents.line_links, documents.further_terms)


@njit(cache=True, nogil=True)
def rank_candidates(queries, candidates, n_candidates, line_docs, documents, places, ids, scores, found):
    """Score each query's candidates canonically and write the best, ranked, to its row of `ids` and `scores`.

    queries       candidate_arrays.Queries, by ascending collection term id
    candidates    uint32[n, m], of which n_candidates, int64[n], are used: lines, each once in a row
    line_docs     uint32[n_docs], the document of each line
    places        as in `score_document`, zeroed, and left so
    ids           int64[n, k], scores float32[n, k]: of as many as match; the rest stays as it is
    found         int64[n], how many those are; by descending score, then ascending id

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    start, terms, weights = queries.start, queries.terms, queries.weights
    k = ids.shape[1]
    keys = np.empty(candidates.shape[1], dtype=np.int64)
    longest = 0
    for q in range(len(start) - 1):
        longest = max(longest, start[q + 1] - start[q])
    products = np.zeros(longest, dtype=np.float64)
    for q in range(len(start) - 1):
        first, stop = start[q], start[q + 1]
        for i in range(first, stop):
            places[terms[i]] = i - first + 1
        matching = 0
        for c in range(min(_DOCUMENTS_AHEAD, n_candidates[q])):
            prefetch_document(np.int64(candidates[q, c]), documents)
        for c in range(n_candidates[q]):
            if c + _DOCUMENTS_AHEAD < n_candidates[q]:
                prefetch_document(np.int64(candidates[q, c + _DOCUMENTS_AHEAD]), documents)
            line = np.int64(candidates[q, c])
            total = score_document(line, documents, places, weights[first:stop], products)
            if total > 0.0:
                # A damaged number of a document stays inside the collection.
                doc = min(np.int64(line_docs[line]), np.int64(len(line_docs)) - 1)
                keys[matching] = key_of(doc, np.float32(total))
                matching += 1
        for i in range(first, stop):
            places[terms[i]] = 0
        n = min(matching, k)
        best_of(keys[:matching], ids[q, :n], scores[q, :n])
        found[q] = n
