"""Candidate search: the documents that are worth a canonical score, found by their blocks and sketches.

Seismic's idea (Bruch, Nardini, Rulli, Venturini, SIGIR 2024): only the heaviest query terms' lists are looked at, and
of each only the blocks whose summaries promise enough. What is added here:

* All blocks of the lists are estimated first, from summaries stored by term, and then visited best-first, in buckets
  of falling estimate: the threshold is tight almost from the start.
* A document is a chain of 64-byte lines, heaviest terms first. Its first line is scored; only if that reaches `beta`
  times the threshold is the rest looked at.
* What will be read is asked for ahead with a prefetch, so that the memory's latency is hidden.
* Visited documents are marked with the number of the query (an epoch), so nothing is cleared between queries.

A sketch score is in steps of the terms' scales, folded into the query's weights. It only ranks candidates.
"""

from __future__ import annotations

import numpy as np
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_BUCKETS = 512
_BATCH = 256
_AHEAD = 12

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def prefetch(_array, _row):
        """Do nothing: plain Python has no cache to fill."""

else:

    @intrinsic
    def prefetch(typingctx, array, row):  # noqa: ARG001
        """Ask for the cache line at array[row], row int64 inside of the array."""

        def codegen(context, builder, signature, arguments):
            array_type = signature.args[0]
            view = context.make_array(array_type)(context, builder, arguments[0])
            stride = cgutils.unpack_tuple(builder, view.strides)[0]
            base = builder.ptrtoint(view.data, stride.type)
            from llvmlite import ir

            pointer = builder.inttoptr(builder.add(base, builder.mul(arguments[1], stride)), ir.IntType(8).as_pointer())
            i32 = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(function, [pointer, i32(0), i32(3), i32(1)])
            return context.get_dummy_value()

        return types.none(array, types.int64), codegen


@njit(cache=True, nogil=True)
def find_candidates(
    terms, weights, query_cut, heap_factor, beta, allowed,
    scale, list_block, block_start, block_docs, list_row, list_entry, row_terms, row_end, entry_blocks, entry_values,
    line_terms, line_bytes, line_links,
    table, visited, epoch, estimates, order, batch, heap_scores, heap_docs, counters,
):  # fmt: skip
    """Fill heap_docs, heap_scores with the best documents found (in no order) and return how many there are.

    terms         uint32[m], the query's terms in the segment's numbers       weights  float32[m]
    query_cut     how many of the terms lead to blocks: those with the largest possible contribution
    heap_factor   a block whose estimate is below heap_factor times the threshold is not visited
    beta          a document whose first line scores below beta times the threshold is dropped
    allowed       bool[n_docs], or bool[0] for every document
    scale         float32[n_terms]; impact of one step of a sketch
    list_block    int64[n_terms + 1] into block_start, uint32[n_blocks + 1], into block_docs, uint32[]
    list_row      int64[n_terms + 1] into row_terms (rising in a list) and row_end (uint32, from list_entry on)
    list_entry    int64[n_terms + 1] into entry_blocks (uint16, block number in the list) and entry_values (uint8)
    line_*        see kernels.lines
    table         float32[power of two above every term], zeroed, and left so
    visited       uint8[n_docs], no `epoch` in it            epoch  int64, 1 .. 255
    estimates     float32[], order uint32[]; room for the blocks of all lists that query_cut allows, and 2**16 more
    batch         int64[256 or m, the larger], for use here
    heap_scores   float32[n], heap_docs uint32[n]; n is how many to keep
    counters      int64[4]; blocks estimated, blocks visited, documents looked at, documents scored in full: added to

    Oracle: oracle.candidates_trivial_but_slow, which it equals when nothing is cut.
    """
    mask = np.int64(len(table) - 1)
    n_docs = np.int64(len(visited))
    n_lines = np.int64(len(line_links))
    n_postings = np.int64(len(block_docs))
    term_bytes = 64 // line_terms.shape[1]
    width = 60 // (term_bytes + 1)
    m = len(terms)
    n_keep = len(heap_docs)
    everything = len(allowed) == 0

    for i in range(m):
        table[terms[i]] = weights[i] * scale[terms[i]]
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
    largest = np.float32(0.0)
    for c in range(n_lists):
        own = np.int64(terms[chosen[c]])
        first_block, last_block = list_block[own], list_block[own + 1]
        estimates[n_estimates : n_estimates + last_block - first_block] = 0
        rows, rows_stop = list_row[own], list_row[own + 1]
        entries = list_entry[own]
        for i in range(m):
            term = terms[i]
            low, length = rows, rows_stop - rows
            while length > 1:
                half = length >> 1
                low = low + half if row_terms[low + half] <= term else low
                length -= half
            if length == 0 or row_terms[low] != term:
                continue
            weight = table[term]
            begin = entries + (np.int64(row_end[low - 1]) if low > rows else np.int64(0))
            # Damaged ends stay inside of the list.
            for e in range(begin, min(entries + np.int64(row_end[low]), list_entry[own + 1])):
                estimates[n_estimates + entry_blocks[e]] += weight * np.float32(entry_values[e])
        for b in range(last_block - first_block):
            largest = max(largest, estimates[n_estimates + b])
        n_estimates += last_block - first_block
    counters[0] += n_estimates

    # Sort them into buckets of falling estimate.
    ends = np.zeros(_BUCKETS + 1, dtype=np.int64)
    to_bucket = np.float32(_BUCKETS - 1) / largest if largest > 0 else np.float32(0.0)
    for e in range(n_estimates):
        ends[_BUCKETS - 1 - np.int64(estimates[e] * to_bucket)] += 1
    position = 0
    for b in range(_BUCKETS):
        count = int(ends[b])
        ends[b] = position
        position += count
    at = 0
    for c in range(n_lists):
        own = np.int64(terms[chosen[c]])
        for block in range(list_block[own], list_block[own + 1]):
            bucket = _BUCKETS - 1 - np.int64(estimates[at] * to_bucket)
            order[ends[bucket]] = block
            ends[bucket] += 1
            at += 1

    # Visit them best-first.
    size = 0
    threshold = np.float32(0.0)
    n_batch = 0
    upcoming = 0
    level = 0
    while level < _BUCKETS:
        # What a block of this bucket can be estimated at, at most.
        if (np.float32(_BUCKETS - level) / to_bucket if largest > 0 else np.float32(0.0)) < heap_factor * threshold:
            break
        stop = ends[level]
        while upcoming < stop:
            if upcoming + _AHEAD < n_estimates:
                prefetch(block_start, np.int64(order[upcoming + _AHEAD]))
            if upcoming + _AHEAD // 2 < n_estimates:
                prefetch(block_docs, np.int64(block_start[order[upcoming + _AHEAD // 2]]))
            visiting = np.int64(order[upcoming])
            upcoming += 1
            counters[1] += 1
            for j in range(np.int64(block_start[visiting]), min(np.int64(block_start[visiting + 1]), n_postings)):
                doc = np.int64(block_docs[j])
                if doc >= n_docs or visited[doc] == epoch:
                    continue
                visited[doc] = epoch
                if not everything and not allowed[doc]:
                    continue
                prefetch(line_bytes, doc)
                batch[n_batch] = doc
                n_batch += 1
                if n_batch == _BATCH:
                    size = _score_batch(
                        batch, n_batch, beta, width, term_bytes, mask, n_lines, n_keep, size,
                        line_terms, line_bytes, line_links, table, heap_scores, heap_docs, counters,
                    )  # fmt: skip
                    n_batch = 0
                    threshold = heap_scores[0] if size == n_keep else np.float32(0.0)
        level += 1
        if n_batch > 0 and (level == _BUCKETS or n_batch >= 16 or size < n_keep):
            size = _score_batch(
                batch, n_batch, beta, width, term_bytes, mask, n_lines, n_keep, size,
                line_terms, line_bytes, line_links, table, heap_scores, heap_docs, counters,
            )  # fmt: skip
            n_batch = 0
            threshold = heap_scores[0] if size == n_keep else np.float32(0.0)
    if n_batch > 0:
        size = _score_batch(
            batch, n_batch, beta, width, term_bytes, mask, n_lines, n_keep, size,
            line_terms, line_bytes, line_links, table, heap_scores, heap_docs, counters,
        )  # fmt: skip
    for i in range(m):
        table[terms[i]] = 0
    return size


@njit(cache=True, nogil=True)
def _score_line(line, width, term_bytes, mask, line_terms, line_bytes, table):
    total = np.float32(0.0)
    for p in range(width):
        total += table[np.int64(line_terms[line, p]) & mask] * np.float32(line_bytes[line, width * term_bytes + p])
    return total


@njit(cache=True, nogil=True)
def _score_batch(
    batch, n_batch, beta, width, term_bytes, mask, n_lines, n_keep, size,
    line_terms, line_bytes, line_links, table, heap_scores, heap_docs, counters,
):  # fmt: skip
    """Offer the first n_batch documents of `batch` to the heap and return its size."""
    counters[2] += n_batch
    start = 0
    while start < n_batch:
        # Until the heap is full there is nothing to compare with: small steps, then all that is left.
        stop = n_batch if size == n_keep else min(n_batch, start + n_keep)
        bar = beta * heap_scores[0] if size == n_keep else np.float32(-1.0)
        survivors = 0
        for i in range(start, stop):
            doc = batch[i]
            first = _score_line(doc, width, term_bytes, mask, line_terms, line_bytes, table)
            if first >= bar:
                following = np.int64(line_links[doc, 15])
                if following < n_lines:
                    prefetch(line_bytes, following)
                    if following + 3 < n_lines:
                        prefetch(line_bytes, following + 1)
                        prefetch(line_bytes, following + 2)
                        prefetch(line_bytes, following + 3)
                batch[start + survivors] = doc
                survivors += 1
        counters[3] += survivors
        for i in range(start, start + survivors):
            doc = batch[i]
            line = doc
            total = np.float32(0.0)
            while True:
                total += _score_line(line, width, term_bytes, mask, line_terms, line_bytes, table)
                following = np.int64(line_links[line, 15])
                if following <= line or following >= n_lines:
                    break
                line = following
            if total <= 0:
                continue
            if size < n_keep:
                # Sift up.
                place = size
                size += 1
                while place > 0 and heap_scores[(place - 1) >> 1] > total:
                    heap_scores[place] = heap_scores[(place - 1) >> 1]
                    heap_docs[place] = heap_docs[(place - 1) >> 1]
                    place = (place - 1) >> 1
                heap_scores[place] = total
                heap_docs[place] = doc
            elif total > heap_scores[0]:
                # Sift down from the root.
                place = 0
                while True:
                    child = 2 * place + 1
                    if child >= n_keep:
                        break
                    if child + 1 < n_keep and heap_scores[child + 1] < heap_scores[child]:
                        child += 1
                    if heap_scores[child] >= total:
                        break
                    heap_scores[place] = heap_scores[child]
                    heap_docs[place] = heap_docs[child]
                    place = child
                heap_scores[place] = total
                heap_docs[place] = doc
        start = stop
    return size
