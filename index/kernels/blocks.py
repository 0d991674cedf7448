"""Building a postings list's blocks: which documents lie together, and with which summaries.

A list keeps the documents with the largest impacts (kernels.postings). They are clustered as Seismic does it (Bruch,
Nardini, Rulli, Venturini, SIGIR 2024): some documents, drawn by chance, are centroids, and each document joins the
nearest, over its heaviest terms. Two things are different, and at 200,000 SPLADE-like documents save a third of the
documents looked at for the same recall: the nearest is the one with the largest cosine, not inner product, which heavy
centroids win; and a cluster takes at most twice its share, since a search that visits a large block pays for all of it.
A block's summary is the coordinate-wise maximum of its documents' sketches, of which the largest values are kept. Where
Seismic keeps a share of the mass, here every summary has the same number of values: as many as fill one or two 64-byte
lines, which look like a document's (kernels.lines) and are scored by the same code, one list's summaries in one sweep.

Chance is a small generator seeded with the list's collection term id, so a list's blocks depend on its documents alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.lines import further_lines, further_width, impact_value, prefetch_further, steps_of
from index.kernels.prefetching import prefetch

_STEPS = 256
_LAST_KEY = 2**63 - 1
# First lines are asked for this many documents ahead.
_LINES_AHEAD = 8
# A term that more than one of so many centroids hold is added up for all of them: eight additions are one instruction.
_ROW_OF = 8
# A score that no sum of products lifts above 0.
_CLOSED = np.float32(-1e30)


@njit(cache=True, nogil=True)
def cluster_list(docs, seed, n_centroids, min_size, doc_cut, line_terms, line_bytes, scale, heads, blocks, starts):
    """Cluster one list: reorder it into `blocks`, write the block starts to `starts`, return the number of blocks.

    docs        uint32[n]; the documents          seed  int64     n_centroids  int64, 1 .. n
    min_size    clusters smaller than this are dissolved, as long as another one is left
    doc_cut     heaviest terms of a document looked at; no more than a line holds
    line_terms, line_bytes   see kernels.lines     scale  float32[n_terms]
    heads       int32[power of two above every term], all -1, and left so
    blocks      uint32[n]      starts  int64[n + 1]

    A document goes to the centroid of largest cosine (first among equals) whose cluster has at most twice its share of
    the documents, and one more; if all of them have, to the nearest. Within a block the documents rise.
    Oracle: oracle.cluster_list.
    """
    n = len(docs)
    term_bytes = 64 // line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    cut = min(np.int64(doc_cut), width)
    mask = len(heads) - 1
    # Centroids: the first of a partial shuffle.
    order = np.arange(n)
    state = (np.int64(seed) * 40503 + 12345) & 0x7FFFFFFF
    for i in range(n_centroids):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        j = i + (state >> 8) % (n - i)
        order[i], order[j] = order[j], order[i]
    # The centroids' terms turned around: heads[term] -> slot -> the centroids that hold the term, with their values.
    values = np.zeros(n_centroids * cut, dtype=np.float32)
    slot_start = np.zeros(n_centroids * cut + 2, dtype=np.int64)
    n_slots = 0
    for c in range(n_centroids):
        line = docs[order[c]]
        squares = np.float32(0.0)
        for p in range(cut):
            steps = line_bytes[line, width * term_bytes + p]
            if steps > 0:
                term = np.int64(line_terms[line, p]) & mask
                values[c * cut + p] = np.float32(steps) * scale[term]
                squares += values[c * cut + p] * values[c * cut + p]
                if heads[term] < 0:
                    heads[term] = n_slots
                    n_slots += 1
                slot_start[heads[term] + 2] += 1
        values[c * cut : (c + 1) * cut] /= np.sqrt(squares)
    n_rows = 0
    row_of = np.full(n_slots, -1, dtype=np.int64)
    for slot in range(n_slots):
        if slot_start[slot + 2] * _ROW_OF > n_centroids:
            row_of[slot] = n_rows
            n_rows += 1
        slot_start[slot + 2] += slot_start[slot + 1]
    held_by = np.empty(slot_start[n_slots + 1], dtype=np.int32)
    held_value = np.empty(slot_start[n_slots + 1], dtype=np.float32)
    rows = np.zeros((n_rows, n_centroids), dtype=np.float32)
    for c in range(n_centroids):
        line = docs[order[c]]
        for p in range(cut):
            if line_bytes[line, width * term_bytes + p] > 0:
                slot = heads[np.int64(line_terms[line, p]) & mask]
                held_by[slot_start[slot + 1]] = c
                held_value[slot_start[slot + 1]] = values[c * cut + p]
                slot_start[slot + 1] += 1
                if row_of[slot] >= 0:
                    rows[row_of[slot], c] = values[c * cut + p]
    full = 2 * n // n_centroids + 2
    nearest = np.full(n, -1, dtype=np.int64)
    sizes = np.zeros(n_centroids, dtype=np.int64)
    alive = np.ones(n_centroids, dtype=np.bool_)
    scores = np.empty(n_centroids, dtype=np.float32)
    # What a score begins with: nothing for a centroid that takes documents, less than nothing for one that does not.
    bases = np.zeros(n_centroids, dtype=np.float32)
    n_open = n_centroids
    for turn in range(2):
        for i in range(n):
            if nearest[i] >= 0:
                continue
            if n_open == 0:
                bases[:] = np.where(alive, np.float32(0.0), _CLOSED)
            scores[:] = bases
            if i + _LINES_AHEAD < n:
                prefetch(line_bytes, np.int64(docs[i + _LINES_AHEAD]))
            line = docs[i]
            for p in range(cut):
                steps = line_bytes[line, width * term_bytes + p]
                if steps > 0:
                    term = np.int64(line_terms[line, p]) & mask
                    slot = heads[term]
                    if slot >= 0:
                        value = np.float32(steps) * scale[term]
                        if row_of[slot] >= 0:
                            row = rows[row_of[slot]]
                            for c in range(n_centroids):
                                scores[c] += value * row[c]
                        else:
                            for entry in range(slot_start[slot], slot_start[slot + 1]):
                                scores[held_by[entry]] += value * held_value[entry]
            found = _first_largest(scores.view(np.int32))
            nearest[i] = found
            sizes[found] += 1
            if sizes[found] == full:
                bases[found] = _CLOSED
                n_open -= 1
        if turn == 1:
            break
        # Dissolve the small clusters, but never the last one.
        alive[:] = sizes >= min_size
        left = np.sum(alive)
        if left == 0 or left == n_centroids:
            break
        n_open = 0
        for c in range(n_centroids):
            if not alive[c]:
                sizes[c] = 0
                bases[c] = _CLOSED
            else:
                bases[c] = np.float32(0.0) if sizes[c] < full else _CLOSED
                n_open += sizes[c] < full
        for i in range(n):
            if not alive[nearest[i]]:
                nearest[i] = -1
    for c in range(n_centroids):
        line = docs[order[c]]
        for p in range(cut):
            heads[np.int64(line_terms[line, p]) & mask] = -1
    # Counting sort by cluster.
    number = np.empty(n_centroids, dtype=np.int64)
    n_blocks = 0
    starts[0] = 0
    for c in range(n_centroids):
        if sizes[c] > 0:
            number[c] = n_blocks
            starts[n_blocks + 1] = starts[n_blocks] + sizes[c]
            n_blocks += 1
    filled = starts[:n_blocks].copy()
    for i in range(n):
        b = number[nearest[i]]
        blocks[filled[b]] = docs[i]
        filled[b] += 1
    return n_blocks


@njit(cache=True, nogil=True)
def _first_largest(bits):
    """Return the place of the largest score, the first among equals.

    bits  int32[n]; scores, float32, as whole numbers: those of 0 and more compare as they do, those below are smaller
    """
    largest = bits[0]
    for c in range(len(bits)):
        largest = max(largest, bits[c])
    place = 0
    while bits[place] != largest:
        place += 1
    return place


@njit(cache=True, nogil=True)
def summarise_block(docs, n_lines, documents, scale, maxima, touched, out_terms, out_bytes, first):
    """Write the summary of the block with these documents to lines first .. first + n_lines of the output.

    docs       uint32[n]          n_lines  lines a summary has
    documents  kernels.lines.Documents     scale  float32[power of two above every term]
    maxima     uint8[the same length], zeroed, and left so        touched  int64[one more], for use here
    out_terms, out_bytes   the output as terms and as bytes, zeroed

    Of the coordinate-wise maximum the largest values are kept, as many as the lines hold, by falling value, then
    rising term. Of each document as many terms are read as a summary has: what lies behind them is no larger than any
    of as many values, so it could only tie with the last that is kept. Oracle: oracle.block_summary.
    """
    term_bytes = 64 // documents.line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    mask = len(maxima) - 1
    # Taken out once: an array taken out of a tuple is counted as a reference, atomically.
    line_terms, line_bytes, line_links = documents.line_terms, documents.line_bytes, documents.line_links
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    steps_per_unit = documents.steps_per_unit
    last_term = np.int64(len(steps_per_unit) - 1)
    per_further = further_width(further_terms, further_impacts)
    from_end = further_impacts.shape[1] - per_further
    # Further lines are nowhere near the documents' lines.
    if n_lines > 1:
        for i in range(len(docs)):
            prefetch_further(np.int64(docs[i]), line_links, further_terms)
    n_touched = 0
    for i in range(len(docs)):
        doc = np.int64(docs[i])
        for p in range(width):
            steps = line_bytes[doc, width * term_bytes + p]
            if steps == 0:
                break
            term = np.int64(line_terms[doc, p]) & mask
            # Without a branch, which no processor would foresee.
            touched[n_touched] = term
            n_touched += np.int64(maxima[term] == 0)
            maxima[term] = max(maxima[term], steps)
        line, left = further_lines(doc, line_links, further_terms, per_further)
        left = min(left, (n_lines - 1) * width)
        place = 1
        while left > 0:
            if place == per_further:
                line += 1
                place = 0
            term = min(np.int64(further_terms[line, place]) & mask, last_term)
            impact = impact_value(further_impacts[line, from_end + place])
            steps = steps_of(impact, steps_per_unit[term])
            touched[n_touched] = term
            n_touched += np.int64(maxima[term] == 0)
            maxima[term] = max(np.int64(maxima[term]), steps)
            place += 1
            left -= 1
    room = min(np.int64(n_touched), n_lines * width)
    # Falling value, then rising term: the value's bits compare as the value does.
    keys = np.empty(n_touched + 1, dtype=np.int64)
    least = np.int64(_LAST_KEY)
    for j in range(n_touched):
        value = np.float32(maxima[touched[j]]) * scale[touched[j]]
        keys[j] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(value).view(np.uint32))) << 32) | touched[j]
        least = min(least, keys[j])
    # How far the keys that are kept go, roughly, by a histogram; only those are sorted.
    histogram = np.zeros(_STEPS, dtype=np.int32)
    for j in range(n_touched):
        histogram[_step(keys[j], least)] += 1
    step = -1
    above = 0
    while above < room:
        step += 1
        above += histogram[step]
    found = 0
    for j in range(n_touched):
        key = keys[j]
        keys[found] = key
        found += np.int64(_step(key, least) <= step)
    keys = keys[:found]
    keys.sort()
    for place in range(room):
        term = keys[place] & 0xFFFFFFFF
        line = first + place // width
        out_terms[line, place % width] = term
        out_bytes[line, width * term_bytes + place % width] = maxima[term]
    for j in range(n_touched):
        maxima[touched[j]] = 0


@njit(cache=True, nogil=True)
def _step(key, least):
    """Return by how many 64ths of an octave a key's value is below that of the least key; _STEPS - 1 if more."""
    return min(np.int64(_STEPS - 1), ((key >> 32) - (least >> 32)) >> 17)


@njit(cache=True, nogil=True)
def build_lists(
    list_start, list_docs, seeds, centroid_fraction, min_size, short, doc_cut, n_lines, documents, scale,
    heads, maxima, touched, block_docs, block_sizes, out_terms, out_bytes, list_blocks,
):  # fmt: skip
    """Cluster and summarise some lists, one behind the other, and return the number of summary lines written.

    list_start   int64[n + 1]; list i is list_docs[list_start[i]:list_start[i + 1]]     seeds  int64[n]
    short        a list of at most this many documents is one block without a summary
    n_lines      lines a summary has
    block_docs   uint32[len(list_docs)]          documents, block by block
    block_sizes  uint32[len(list_docs)]          documents of each block
    out_terms, out_bytes    summaries, zeroed, with room for n_lines for each block (see `most_blocks`)
    list_blocks  int64[n]                        blocks of each list

    The rest as in `cluster_list` and `summarise_block`, whose oracles define this too.
    """
    n_blocks = 0
    lines = 0
    for i in range(len(list_start) - 1):
        first, stop = list_start[i], list_start[i + 1]
        size = stop - first
        list_blocks[i] = 0
        if size == 0:
            continue
        if size <= short:
            block_docs[first:stop] = list_docs[first:stop]
            block_sizes[n_blocks] = size
            list_blocks[i] = 1
            n_blocks += 1
            continue
        n_centroids = most_blocks(size, centroid_fraction)
        starts = np.empty(n_centroids + 1, dtype=np.int64)
        blocks = block_docs[first:stop]
        found = cluster_list(
            list_docs[first:stop], seeds[i], n_centroids, min_size, doc_cut, documents.line_terms, documents.line_bytes,
            scale, heads, blocks, starts,
        )  # fmt: skip
        list_blocks[i] = found
        for b in range(found):
            block_sizes[n_blocks] = starts[b + 1] - starts[b]
            n_blocks += 1
            block = blocks[starts[b] : starts[b + 1]]
            summarise_block(block, n_lines, documents, scale, maxima, touched, out_terms, out_bytes, lines)
            lines += n_lines
    return lines


@njit(cache=True, nogil=True)
def most_blocks(size, centroid_fraction):
    """Return how many centroids a list of `size` documents gets: at least one, at most its documents."""
    return max(1, min(np.int64(size), np.int64(np.ceil(size * centroid_fraction))))
