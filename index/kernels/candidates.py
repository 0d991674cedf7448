"""Candidate search: the documents that are worth a canonical score, found by their blocks and sketches.

Seismic's idea (Bruch, Nardini, Rulli, Venturini, SIGIR 2024): only the heaviest query terms' lists are looked at, and
of each only the blocks whose summaries promise enough. What is added here:

* Documents and summaries are 64-byte lines (kernels.lines). The query is a table of whole numbers, each a weight
  times its term's scale, so a line's score is 20 table look-ups, multiplications and additions of integers: the same
  on every machine, whatever the order. Further lines hold impacts, and each product becomes a whole number. No branch.
* All blocks of the lists are estimated first, and then visited best-first, in buckets of falling estimate: the
  threshold is tight almost from the start.
* Of a document the line is scored, which holds its heaviest terms. Only if that reaches `beta` times the threshold is
  its first further line looked at, which must bring it half of the remaining way, and so on.
* What will be read is asked for ahead with a prefetch, so that the memory's latency is hidden.
* If there is a graph, the neighbours of what was found so far are looked at last (Bruch et al., CIKM 2024).
* Visited documents are marked with the number of the query (an epoch), so nothing is cleared between queries.

A sketch score only ranks candidates. What is returned is scored from the canonical weights.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.lines import further_lines, further_width, impact_value, prefetch_further
from index.kernels.prefetching import prefetch

_BUCKETS = 512
_BATCH = 256
_ENOUGH = 32
_STARTS_AHEAD = 12
_BLOCKS_AHEAD = 6
# How far ahead a line is asked for: processors drop requests beyond some 20 (measured: 22 ns a random line 12 ahead,
# 60 ns 24 ahead, 103 ns without).
_LINES_AHEAD = 10
_DOCUMENTS_AHEAD = 3
# A weight a unit of impact, for impacts so small that it would be infinite.
_LARGEST = 3e38


@njit(cache=True, nogil=True)
def find_all_candidates(
    query_start, query_terms, query_weights, query_cut, heap_factor, beta, allowed, line_docs,
    scale, list_block, list_summary, block_start, block_docs, summary_terms, summary_bytes,
    documents, neighbours, n_knn,
    table, per_unit, visited, epoch, estimates, order, batch, firsts, heap_scores, candidates, n_candidates, counters,
):  # fmt: skip
    """Run `find_candidates` for several queries.

    query_start   int64[n + 1] into query_terms, uint32[], and query_weights, float32[]
    candidates    uint32[n, m]      n_candidates  int64[n]      heap_scores  int64[m]
    epoch         int64[1], the last one used: 0 .. 255; the visited marks are cleared when it would be 256

    The rest as in `find_candidates`, whose oracle defines this too.
    """
    for q in range(len(query_start) - 1):
        epoch[0] += 1
        if epoch[0] == 256:
            visited[:] = 0
            epoch[0] = 1
        first, stop = query_start[q], query_start[q + 1]
        n_candidates[q] = find_candidates(
            query_terms[first:stop], query_weights[first:stop], query_cut, heap_factor, beta, allowed, line_docs,
            scale, list_block, list_summary, block_start, block_docs, summary_terms, summary_bytes,
            documents, neighbours, n_knn,
            table, per_unit, visited, epoch[0], estimates, order, batch, firsts, heap_scores, candidates[q], counters,
        )  # fmt: skip


@njit(cache=True, nogil=True)
def find_candidates(
    terms, weights, query_cut, heap_factor, beta, allowed, line_docs,
    scale, list_block, list_summary, block_start, block_docs, summary_terms, summary_bytes,
    documents, neighbours, n_knn,
    table, per_unit, visited, epoch, estimates, order, batch, firsts, heap_scores, heap_docs, counters,
):  # fmt: skip
    """Fill heap_docs, heap_scores with the best documents found (in no order) and return how many there are.

    terms         uint32[m], the query's terms in the segment's numbers       weights  float32[m], above 0
    query_cut     how many of the terms lead to blocks: those with the largest possible contribution
    heap_factor   a block whose estimate is below heap_factor times the threshold is not visited
    beta          a document whose line scores below beta times the threshold is dropped; 0: none is
    allowed       bool[n_docs], or bool[0] for every document
    line_docs     uint32[n_docs]; the document of each line. Everything else here goes by lines
    scale         float32[n_terms]; impact of one step of a sketch
    list_block    int64[n_terms + 1] into block_start, uint32[n_blocks + 1], into block_docs, uint32[]
    list_summary  int64[n_terms + 1] into summary_*: as many lines for each block of the list, or none at all, which
                  means that the list is short and always visited
    summary_*     lines, see kernels.lines      documents  kernels.lines.Documents
    neighbours    uint32[n_docs, n] of which n_knn are looked at, or none with n_knn 0, and then of any shape
    table         uint16[65,536] for 16-bit terms, else uint16[power of two above every term]; zeroed, and left so
    per_unit      float32[as long], zeroed, and left so
    visited       uint8[n_docs], no `epoch` in it            epoch  int64, 1 .. 255
    estimates     int64[], order int64[]; room for the blocks of all lists that query_cut allows
    batch         int64[257 or m, the larger], firsts int64[256]; for use here
    heap_scores   int64[n], heap_docs uint32[n]; n is how many to keep
    counters      int64[4]; blocks estimated, blocks visited, documents looked at, documents looked at further: added to

    Oracle: oracle.candidates_trivial_but_slow, which it equals when nothing is cut.
    """
    n_docs = np.int64(len(visited))
    n_postings = np.int64(len(block_docs))
    m = len(terms)
    n_keep = len(heap_docs)
    everything = len(allowed) == 0
    fill_tables(terms, weights, scale, table, per_unit)
    # The lists, by falling largest possible contribution: insertion sort, queries are short.
    chosen = batch[:m]
    for i in range(m):
        bound = table[terms[i]]
        j = i
        while j > 0 and table[terms[chosen[j - 1]]] < bound:
            chosen[j] = chosen[j - 1]
            j -= 1
        chosen[j] = i
    n_lists = min(np.int64(query_cut), np.int64(m))

    # Estimate every block of those lists.
    n_estimates = 0
    largest = np.int64(1)
    for c in range(n_lists):
        own = np.int64(terms[chosen[c]])
        n_blocks = list_block[own + 1] - list_block[own]
        line = list_summary[own]
        if n_blocks == 0:
            continue
        n_lines = (list_summary[own + 1] - line) // n_blocks
        for b in range(n_blocks):
            estimate = np.int64(0)
            for _ in range(n_lines):
                estimate += score_line(line, summary_terms, summary_bytes, table)
                line += 1
            estimates[n_estimates + b] = estimate if n_lines > 0 else np.int64(-1)
            largest = max(largest, estimate)
        n_estimates += n_blocks
    counters[0] += n_estimates

    # Sort them into buckets of falling estimate, by the estimates' upper bits; blocks without one go first.
    shift = 0
    while largest >> shift >= _BUCKETS:
        shift += 1
    ends = np.zeros(_BUCKETS, dtype=np.int64)
    for e in range(n_estimates):
        if estimates[e] < 0:
            estimates[e] = largest
        ends[_BUCKETS - 1 - (estimates[e] >> shift)] += 1
    position = 0
    for b in range(_BUCKETS):
        count = int(ends[b])
        ends[b] = position
        position += count
    at = 0
    for c in range(n_lists):
        own = np.int64(terms[chosen[c]])
        for block in range(list_block[own], list_block[own + 1]):
            bucket = _BUCKETS - 1 - (estimates[at] >> shift)
            order[ends[bucket]] = block
            ends[bucket] += 1
            at += 1

    # Visit them best-first.
    size = 0
    n_batch = 0
    upcoming = 0
    level = 0
    while level < _BUCKETS:
        # What a block of this bucket can be estimated at, at most.
        if size == n_keep and np.float64((_BUCKETS - level) << shift) < heap_factor * heap_scores[0]:
            break
        stop = ends[level]
        while upcoming < stop:
            if upcoming + _STARTS_AHEAD < n_estimates:
                prefetch(block_start, order[upcoming + _STARTS_AHEAD])
            if upcoming + _BLOCKS_AHEAD < n_estimates:
                first = min(np.int64(block_start[order[upcoming + _BLOCKS_AHEAD]]), n_postings)
                prefetch(block_docs, first)
                prefetch(block_docs, first + 16)
            # Damaged starts stay inside of the documents.
            first = np.int64(block_start[order[upcoming]])
            stop_doc = min(np.int64(block_start[order[upcoming] + 1]), n_postings)
            upcoming += 1
            counters[1] += 1
            for j in range(first, stop_doc):
                doc = min(np.int64(block_docs[j]), n_docs - 1)
                # Without a branch, which could not be predicted: a document seen before is overwritten by the next.
                batch[n_batch] = doc
                n_batch += np.int64(visited[doc] != epoch) & np.int64(everything or is_allowed(doc, allowed, line_docs))
                visited[doc] = epoch
                if n_batch == _BATCH:
                    size = score_batch(
                        batch[:n_batch], firsts, beta, size, documents, table, per_unit, heap_scores, heap_docs,
                        counters,
                    )  # fmt: skip
                    n_batch = 0
        level += 1
        if n_batch >= _ENOUGH or (n_batch > 0 and level == _BUCKETS):
            size = score_batch(
                batch[:n_batch], firsts, beta, size, documents, table, per_unit, heap_scores, heap_docs,
                counters,
            )  # fmt: skip
            n_batch = 0
    if n_batch > 0:
        size = score_batch(
            batch[:n_batch], firsts, beta, size, documents, table, per_unit, heap_scores, heap_docs,
            counters,
        )  # fmt: skip
    if n_knn > 0:
        size = look_at_neighbours(
            neighbours, n_knn, allowed, line_docs, visited, epoch, batch, firsts, beta, size, documents, table,
            per_unit, heap_scores, heap_docs, counters,
        )  # fmt: skip
    for i in range(m):
        table[terms[i]] = 0
        per_unit[terms[i]] = 0
    return size


@njit(cache=True, nogil=True)
def look_at_neighbours(
    neighbours, n_knn, allowed, line_docs, visited, epoch, batch, firsts, beta, size, documents, table, per_unit,
    heap_scores, heap_docs, counters,
):  # fmt: skip
    """Offer the n_knn nearest neighbours of the documents on the heap to it, and return its new size."""
    everything = len(allowed) == 0
    last = np.int64(len(visited)) - 1
    found = heap_docs[:size].copy()
    for i in range(min(len(found), _LINES_AHEAD)):
        prefetch(neighbours, np.int64(found[i]))
    n_batch = 0
    for i in range(len(found)):
        if i + _LINES_AHEAD < len(found):
            prefetch(neighbours, np.int64(found[i + _LINES_AHEAD]))
        for j in range(n_knn):
            doc = min(np.int64(neighbours[found[i], j]), last)
            batch[n_batch] = doc
            n_batch += np.int64(visited[doc] != epoch) & np.int64(everything or is_allowed(doc, allowed, line_docs))
            visited[doc] = epoch
            if n_batch == _BATCH:
                size = score_batch(
                    batch[:n_batch], firsts, beta, size, documents, table, per_unit, heap_scores, heap_docs,
                    counters,
                )  # fmt: skip
                n_batch = 0
    return score_batch(
        batch[:n_batch], firsts, beta, size, documents, table, per_unit, heap_scores, heap_docs,
        counters,
    )  # fmt: skip


@njit(cache=True, nogil=True, inline="always")
def is_allowed(line, allowed, line_docs):
    """Return whether the document of a line is; a damaged number of one stays inside of the array."""
    return allowed[min(np.int64(line_docs[line]), np.int64(len(allowed)) - 1)]


@njit(cache=True, nogil=True)
def fill_tables(terms, weights, scale, table, per_unit):
    """Set what a step of each term is worth, and what a unit of impact is.

    table[t]     weight * scale as a whole number, 1 .. 65535, so that no sum of 255 steps exceeds 2**31
    per_unit[t]  the weight, in the same measure
    """
    largest = 0.0
    total = 0.0
    for i in range(len(terms)):
        value = np.float64(weights[i]) * np.float64(scale[terms[i]])
        largest = max(largest, value)
        total += value
    if largest > 0:
        factor = min(65534.0 / largest, 2.0**31 / (255.0 * total))
        for i in range(len(terms)):
            table[terms[i]] = 1 + np.int64(np.float64(weights[i]) * np.float64(scale[terms[i]]) * factor)
            per_unit[terms[i]] = min(np.float64(weights[i]) * factor, _LARGEST)


@njit(cache=True, nogil=True, inline="always")
def score_line(line, line_terms, line_bytes, table):
    """Return the sum over the line's places of table[term] * steps."""
    total = np.int64(0)
    # The number of places is written out, so that the loops are unrolled. No 16-bit term is outside of its table.
    if line_terms.shape[1] == 32:
        for p in range(20):
            total += np.int64(table[line_terms[line, p]]) * np.int64(line_bytes[line, 40 + p])
    else:
        mask = np.int64(len(table) - 1)
        for p in range(12):
            total += np.int64(table[np.int64(line_terms[line, p]) & mask]) * np.int64(line_bytes[line, 48 + p])
    return total


@njit(cache=True, nogil=True, inline="always")
def score_further_line(line, terms, impacts, width, per_unit):
    """Return the sum over a further line's places of per_unit[term] * impact, each as a whole number.

    Neither the number of terms, which stands in the place of one, nor an unused place has an impact.
    """
    total = np.int64(0)
    if width == 16:
        for p in range(16):
            total += np.int64(per_unit[terms[line, p]] * impact_value(impacts[line, 16 + p]))
    else:
        mask = np.int64(len(per_unit) - 1)
        from_end = impacts.shape[1] - width
        for p in range(width):
            weight = per_unit[np.int64(terms[line, p]) & mask]
            total += np.int64(weight * impact_value(impacts[line, from_end + p]))
    return total


@njit(cache=True, nogil=True)
def score_batch(batch, firsts, beta, size, documents, table, per_unit, heap_scores, heap_docs, counters):
    """Offer the documents of `batch`, at most 256, to the heap, which holds `size`, and return its new size."""
    n = len(batch)
    n_keep = len(heap_docs)
    line_terms, line_bytes = documents.line_terms, documents.line_bytes
    counters[2] += n
    for i in range(min(n, _LINES_AHEAD)):
        prefetch(line_bytes, batch[i])
    for i in range(n):
        if i + _LINES_AHEAD < n:
            prefetch(line_bytes, batch[i + _LINES_AHEAD])
        firsts[i] = score_line(batch[i], line_terms, line_bytes, table)
    if size == 0 and n > n_keep:
        # The n_keep best lines go first: they make a good threshold for the others.
        for i in range(n):
            size = offer(firsts[i], batch[i], size, heap_scores, heap_docs)
        bar = heap_scores[0]
        size = 0
        kept = 0
        for i in range(n):
            if firsts[i] >= bar:
                batch[kept], batch[i] = batch[i], batch[kept]
                firsts[kept], firsts[i] = firsts[i], firsts[kept]
                kept += 1
        size = score_further(batch[:kept], firsts, beta, size, documents, per_unit, heap_scores, heap_docs)
        counters[3] += kept
        firsts[:kept] = -1
    threshold = heap_scores[0] if size == n_keep else np.int64(0)
    bar = np.int64(beta * threshold)
    kept = 0
    for i in range(n):
        if firsts[i] >= bar:
            batch[kept] = batch[i]
            firsts[kept] = firsts[i]
            kept += 1
    counters[3] += kept
    return score_further(batch[:kept], firsts, beta, size, documents, per_unit, heap_scores, heap_docs)


@njit(cache=True, nogil=True)
def score_further(batch, firsts, beta, size, documents, per_unit, heap_scores, heap_docs):
    """Offer the documents of `batch`, whose lines score `firsts`, to the heap, and return its new size."""
    n = len(batch)
    n_keep = len(heap_docs)
    # Taken out once: an array taken out of a tuple is counted as a reference, atomically.
    line_links, terms, impacts = documents.line_links, documents.further_terms, documents.further_impacts
    width = further_width(terms, impacts)
    for i in range(min(n, _DOCUMENTS_AHEAD)):
        prefetch_further(batch[i], line_links, terms)
    for i in range(n):
        if i + _DOCUMENTS_AHEAD < n:
            prefetch_further(batch[i + _DOCUMENTS_AHEAD], line_links, terms)
        threshold = heap_scores[0] if size == n_keep else np.int64(0)
        total = score_rest(batch[i], firsts[i], beta, threshold, line_links, terms, impacts, width, per_unit)
        size = offer(total, batch[i], size, heap_scores, heap_docs)
    return size


@njit(cache=True, nogil=True)
def score_rest(doc, total, beta, threshold, line_links, terms, impacts, width, per_unit):
    """Return a document's sketch score, of which `total` is its line's; or -1 as soon as it falls behind.

    terms, impacts   Documents' further_terms and further_impacts
    """
    line, left = further_lines(doc, line_links, terms, width)
    left += np.int64(left > 0)  # the number of them takes a place
    share = np.float64(beta)
    towards = 0.5 if share > 0.0 else 0.0  # with 0 nothing is dropped, wherever the match may be
    while True:
        if total < share * threshold:
            return np.int64(-1)
        share = towards + share / 2.0
        if left <= 0:
            return total
        total += score_further_line(line, terms, impacts, width, per_unit)
        left -= width
        line += 1


@njit(cache=True, nogil=True)
def offer(score, doc, size, heap_scores, heap_docs):
    """Put the document on the heap, smallest score at the root, if there is room or it beats the root."""
    n_keep = len(heap_docs)
    if score <= 0:
        return size
    if size < n_keep:
        place = size
        while place > 0 and heap_scores[(place - 1) >> 1] > score:
            heap_scores[place] = heap_scores[(place - 1) >> 1]
            heap_docs[place] = heap_docs[(place - 1) >> 1]
            place = (place - 1) >> 1
        heap_scores[place] = score
        heap_docs[place] = doc
        return size + 1
    if score > heap_scores[0]:
        place = 0
        while 2 * place + 1 < n_keep:
            child = 2 * place + 1
            if child + 1 < n_keep and heap_scores[child + 1] < heap_scores[child]:
                child += 1
            if heap_scores[child] >= score:
                break
            heap_scores[place] = heap_scores[child]
            heap_docs[place] = heap_docs[child]
            place = child
        heap_scores[place] = score
        heap_docs[place] = doc
    return size
