"""Candidate search: the documents that are worth a canonical score, found by their blocks and sketches.

Seismic's idea (Bruch, Nardini, Rulli, Venturini, SIGIR 2024): only the lists of the heaviest query terms are used, and
of each only the blocks whose summaries promise enough. What is added here:

* Documents and summaries are 64-byte lines, scored in integers (kernels.sketches).
* All blocks of the lists are estimated first, and then visited best-first, in buckets of descending estimate: the
  threshold is tight almost from the start.
* Blocks are prefetched, which hides the memory's latency.
* If there is a graph, the neighbours of the documents found so far are scored last (Bruch et al., CIKM 2024).
* Visited documents are marked with the number of the query (an epoch), so nothing is cleared between queries.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.candidate_arrays import Query
from index.kernels.heap import doc_of, sketch_threshold_of
from index.kernels.prefetching import prefetch
from index.kernels.sketches import BATCH, LINES_AHEAD, clear_tables, fill_tables, score_batch, score_line

_BUCKETS = 512
# Documents in a batch from which it is scored at the end of a bucket.
_ENOUGH = 32
_STARTS_AHEAD = 12
_BLOCKS_AHEAD = 6


@njit(cache=True, nogil=True)
def find_all_candidates(
    queries, parameters, lists, documents, scale, neighbours, allowed, scratch, candidates, n_candidates
):
    """Run `find_candidates` for several queries.

    candidates   uint32[n, m], m the length of scratch.heap; of each query the first n_candidates, int64[n], are written

    The rest as in `find_candidates`, whose oracle defines this too.
    """
    heap = scratch.heap
    for q in range(len(queries.start) - 1):
        first, stop = queries.start[q], queries.start[q + 1]
        query = Query(queries.terms[first:stop], queries.weights[first:stop])
        found = find_candidates(query, parameters, lists, documents, scale, neighbours, allowed, scratch)
        for i in range(found):
            candidates[q, i] = doc_of(heap[i])
        n_candidates[q] = found


@njit(cache=True, nogil=True)
def find_candidates(query, parameters, lists, documents, scale, neighbours, allowed, scratch):
    """Put the best documents found on scratch.heap, by their lines, and return how many there are.

    query        candidate_arrays.Query         parameters  candidate_arrays.CandidateParameters
    lists        candidate_arrays.CandidateLists
    documents    kernels.lines.Documents        scale       float32[n_terms], impact of one step of each term
    neighbours   uint32[n_docs, n] of which n_knn are scored, or none with n_knn 0, and then of any shape
    allowed      candidate_arrays.AllowedDocuments
    scratch      candidate_arrays.CandidateScratch

    Oracle: oracle.candidates_trivial_but_slow, which it equals when nothing is cut.
    """
    begin_epoch(scratch)
    fill_tables(query, scale, scratch.per_step, scratch.per_unit)
    n_lists = choose_lists(query.terms, parameters.query_cut, scratch)
    n_blocks, largest = estimate_blocks(query.terms, n_lists, lists, scratch)
    ends = np.zeros(_BUCKETS, dtype=np.int64)
    shift = order_blocks(query.terms, n_lists, n_blocks, largest, lists.list_block, ends, scratch)
    size = visit_blocks(n_blocks, ends, shift, parameters, lists, documents, allowed, scratch)
    if parameters.n_knn > 0:
        size = score_neighbours(size, parameters, documents, neighbours, allowed, scratch)
    clear_tables(query, scratch.per_step, scratch.per_unit)
    return size


@njit(cache=True, nogil=True)
def begin_epoch(scratch):
    """Number the query, so that no document counts as visited; the marks are cleared when the numbers run out."""
    epoch = scratch.epoch
    epoch[0] += 1
    if epoch[0] == 256:
        scratch.visited[:] = 0
        epoch[0] = 1


@njit(cache=True, nogil=True)
def choose_lists(terms, query_cut, scratch):
    """Write to scratch.batch the terms' places by descending possible contribution; return how many lead to blocks."""
    chosen, per_step = scratch.batch, scratch.per_step
    m = len(terms)
    # Insertion sort: queries are short.
    for i in range(m):
        bound = per_step[terms[i]]
        j = i
        while j > 0 and per_step[terms[chosen[j - 1]]] < bound:
            chosen[j] = chosen[j - 1]
            j -= 1
        chosen[j] = i
    return min(np.int64(query_cut), np.int64(m))


@njit(cache=True, nogil=True)
def estimate_blocks(terms, n_lists, lists, scratch):
    """Write each block's estimate to scratch.estimates, list by list, -1 for one without a summary.

    Returned are (how many blocks there are, the largest estimate, at least 1). The lists are the first n_lists of
    scratch.batch.
    """
    chosen, estimates, per_step, counters = scratch.batch, scratch.estimates, scratch.per_step, scratch.counters
    list_block, list_summary = lists.list_block, lists.list_summary
    summary_terms, summary_bytes = lists.summary_terms, lists.summary_bytes
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
                estimate += score_line(line, summary_terms, summary_bytes, per_step)
                line += 1
            estimates[n_estimates + b] = estimate if n_lines > 0 else np.int64(-1)
            largest = max(largest, estimate)
        n_estimates += n_blocks
    counters[0] += n_estimates
    return n_estimates, largest


@njit(cache=True, nogil=True)
def order_blocks(terms, n_lists, n_blocks, largest, list_block, ends, scratch):
    """Write the blocks to scratch.order by descending upper bits of their estimates, those without one first.

    ends  int64[_BUCKETS], zeroed; where each bucket ends in the order

    Returned is the number of lower bits that the buckets ignore.
    """
    chosen, estimates, order = scratch.batch, scratch.estimates, scratch.order
    shift = 0
    while largest >> shift >= _BUCKETS:
        shift += 1
    for e in range(n_blocks):
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
    return shift


@njit(cache=True, nogil=True)
def visit_blocks(n_blocks, ends, shift, parameters, lists, documents, allowed, scratch):
    """Score the documents of the blocks in scratch.order, best first; return the heap's size.

    It ends with the first bucket whose estimates are all below heap_factor times the threshold.
    """
    batch, order, heap, visited = scratch.batch, scratch.order, scratch.heap, scratch.visited
    epoch, counters = scratch.epoch[0], scratch.counters
    block_start, block_docs = lists.block_start, lists.block_docs
    bitmap, line_docs = allowed.allowed, allowed.line_docs
    beta, heap_factor = parameters.beta, parameters.heap_factor
    n_postings = np.int64(len(block_docs))
    last = np.int64(len(visited)) - 1
    everything = len(bitmap) == 0
    size = 0
    n_batch = 0
    upcoming = 0
    level = 0
    while level < _BUCKETS:
        # No block of this bucket has a larger estimate.
        if np.float64((_BUCKETS - level) << shift) < heap_factor * sketch_threshold_of(heap, size):
            break
        stop = ends[level]
        while upcoming < stop:
            if upcoming + _STARTS_AHEAD < n_blocks:
                prefetch(block_start, order[upcoming + _STARTS_AHEAD])
            if upcoming + _BLOCKS_AHEAD < n_blocks:
                first = min(np.int64(block_start[order[upcoming + _BLOCKS_AHEAD]]), n_postings)
                prefetch(block_docs, first)
                prefetch(block_docs, first + 16)
            # Damaged starts stay inside the documents.
            first = np.int64(block_start[order[upcoming]])
            stop_doc = min(np.int64(block_start[order[upcoming] + 1]), n_postings)
            upcoming += 1
            counters[1] += 1
            for j in range(first, stop_doc):
                doc = min(np.int64(block_docs[j]), last)
                # Without a branch, which could not be predicted: the next document overwrites one that does not count.
                # Measured: other forms of the check (a function of its own, a variable) are 7 to 35 % slower.
                batch[n_batch] = doc
                n_batch += np.int64(visited[doc] != epoch) & np.int64(everything or is_allowed(doc, bitmap, line_docs))
                visited[doc] = epoch
                if n_batch == BATCH:
                    size = score_batch(n_batch, size, beta, documents, scratch)
                    n_batch = 0
        level += 1
        if n_batch >= _ENOUGH or (n_batch > 0 and level == _BUCKETS):
            size = score_batch(n_batch, size, beta, documents, scratch)
            n_batch = 0
    if n_batch > 0:
        size = score_batch(n_batch, size, beta, documents, scratch)
    return size


@njit(cache=True, nogil=True)
def score_neighbours(size, parameters, documents, neighbours, allowed, scratch):
    """Offer the n_knn nearest neighbours of the heap's documents to the heap, and return its new size."""
    batch, visited, epoch = scratch.batch, scratch.visited, scratch.epoch[0]
    bitmap, line_docs = allowed.allowed, allowed.line_docs
    everything = len(bitmap) == 0
    last = np.int64(len(visited)) - 1
    found = scratch.heap[:size].copy()
    for i in range(min(len(found), LINES_AHEAD)):
        prefetch(neighbours, np.int64(doc_of(found[i])))
    n_batch = 0
    for i in range(len(found)):
        if i + LINES_AHEAD < len(found):
            prefetch(neighbours, np.int64(doc_of(found[i + LINES_AHEAD])))
        for j in range(parameters.n_knn):
            doc = min(np.int64(neighbours[doc_of(found[i]), j]), last)
            batch[n_batch] = doc
            n_batch += np.int64(visited[doc] != epoch) & np.int64(everything or is_allowed(doc, bitmap, line_docs))
            visited[doc] = epoch
            if n_batch == BATCH:
                size = score_batch(n_batch, size, parameters.beta, documents, scratch)
                n_batch = 0
    return score_batch(n_batch, size, parameters.beta, documents, scratch)


@njit(cache=True, nogil=True, inline="always")
def is_allowed(line, allowed, line_docs):
    """Return whether the document of a line is allowed; a damaged number of one stays inside the array."""
    return allowed[min(np.int64(line_docs[line]), np.int64(len(allowed)) - 1)]
