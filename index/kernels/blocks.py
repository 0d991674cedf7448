"""Building a postings list's blocks: which documents, in which clusters, with which summaries.

A list keeps the documents with the largest impacts. They are clustered as Seismic does it (Bruch, Nardini, Rulli,
Venturini, SIGIR 2024): some documents, drawn by chance, are centroids, and each document joins the one that it has
the largest inner product with, over its heaviest terms. A block's summary is the coordinate-wise maximum of its
documents' sketches, of which the largest values are kept until they hold a given share of the whole.

The summaries of a list are stored by term: a query with m terms reads m rows, whatever the number of blocks.

Chance is a small generator seeded with the list's collection term id, so a list's blocks depend on its documents alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NO_LINE = 2**32 - 1
_ENERGY_STEPS = 256


@njit(cache=True, nogil=True)
def largest_postings(start, docs, impacts, n_keep, kept_start, kept_docs):
    """Write each list's `n_keep` documents with the largest impacts, by rising document, to `kept_docs`.

    start       int64[n + 1]; list i is docs[start[i]:start[i + 1]]
    docs        uint32[], rising in a list     impacts  uint16[] sortable keys
    kept_start  int64[n + 1], rising by min(n_keep, length)   kept_docs  uint32[]

    Ties go to the smaller document. Oracle: oracle.largest_postings.
    """
    counts = np.zeros(256, dtype=np.int64)
    for i in range(len(start) - 1):
        first, stop = start[i], start[i + 1]
        out = kept_start[i]
        if stop - first <= n_keep:
            for j in range(first, stop):
                kept_docs[out] = docs[j]
                out += 1
            continue
        # The n_keep-th largest key, high byte first, then low byte.
        counts[:] = 0
        for j in range(first, stop):
            counts[impacts[j] >> 8] += 1
        above = 0
        high = 255
        while above + counts[high] < n_keep:
            above += counts[high]
            high -= 1
        counts[:] = 0
        for j in range(first, stop):
            if impacts[j] >> 8 == high:
                counts[impacts[j] & 255] += 1
        low = 255
        while above + counts[low] < n_keep:
            above += counts[low]
            low -= 1
        threshold = (high << 8) | low
        ties = n_keep - above
        for j in range(first, stop):
            if impacts[j] > threshold or (impacts[j] == threshold and ties > 0):
                if impacts[j] == threshold:
                    ties -= 1
                kept_docs[out] = docs[j]
                out += 1


@njit(cache=True, nogil=True)
def cluster_list(docs, seed, n_centroids, min_size, doc_cut, line_terms, line_bytes, scale, heads, blocks, starts):
    """Cluster one list: reorder it into `blocks`, write the block starts to `starts`, return the number of blocks.

    docs        uint32[n]; the documents          seed  int64     n_centroids  int64, 1 .. n
    min_size    clusters smaller than this are dissolved, as long as another one is left
    doc_cut     heaviest terms of a document looked at; no more than a line holds
    line_terms, line_bytes   see kernels.lines     scale  float32[n_terms]
    heads       int32[power of two above every term], all -1, and left so
    blocks      uint32[n]      starts  int64[n + 1]

    Within a block the documents rise. Oracle: oracle.cluster_list.
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
    # The centroids' terms as chains: heads[term] -> entry -> next entry of that term.
    chain_next = np.empty(n_centroids * cut, dtype=np.int32)
    chain_value = np.empty(n_centroids * cut, dtype=np.float32)
    for c in range(n_centroids):
        line = docs[order[c]]
        for p in range(cut):
            steps = line_bytes[line, width * term_bytes + p]
            entry = c * cut + p
            chain_value[entry] = 0.0
            if steps > 0:
                term = np.int64(line_terms[line, p]) & mask
                chain_value[entry] = np.float32(steps) * scale[term]
                chain_next[entry] = heads[term]
                heads[term] = entry
    nearest = np.empty(n, dtype=np.int64)
    alive = np.ones(n_centroids, dtype=np.bool_)
    sizes = np.zeros(n_centroids, dtype=np.int64)
    scores = np.zeros(n_centroids, dtype=np.float32)
    pending = np.ones(n, dtype=np.bool_)
    for turn in range(2):
        for i in range(n):
            if not pending[i]:
                continue
            scores[:] = 0
            line = docs[i]
            for p in range(cut):
                steps = line_bytes[line, width * term_bytes + p]
                if steps > 0:
                    term = np.int64(line_terms[line, p]) & mask
                    value = np.float32(steps) * scale[term]
                    entry = heads[term]
                    while entry >= 0:
                        scores[entry // cut] += value * chain_value[entry]
                        entry = chain_next[entry]
            found = -1
            for c in range(n_centroids):
                if alive[c] and (found < 0 or scores[c] > scores[found]):
                    found = c
            nearest[i] = found
            sizes[found] += 1
        if turn == 1:
            break
        # Dissolve the small clusters, but never the last one.
        left = 0
        for c in range(n_centroids):
            if sizes[c] >= min_size:
                left += 1
        if left == 0 or left == n_centroids:
            break
        for c in range(n_centroids):
            if sizes[c] < min_size:
                alive[c] = False
                sizes[c] = 0
        for i in range(n):
            pending[i] = not alive[nearest[i]]
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
def summarise_list(blocks, starts, energy, line_terms, line_bytes, line_links, scale, maxima, touched, row_of):
    """Return the summaries of one list's blocks, stored by term: (row_terms, row_starts, row_blocks, row_values).

    blocks      uint32[n]; the documents of block b are blocks[starts[b]:starts[b + 1]]    starts  int64[n_blocks + 1]
    energy      share of a summary's mass to keep, 0 .. 1
    maxima      uint8[power of two above every term], zeroed, and left so
    touched     int64[the same length], for use here
    row_of      int64[the same length], zeroed, and left so
    row_terms   uint32[rows], rising      row_starts  int64[rows + 1]
    row_blocks  uint16[entries]; block numbers in the list, rising in a row
    row_values  uint8[entries]; impact in steps of the term's scale

    Oracle: oracle.summarise_list.
    """
    term_bytes = 64 // line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    mask = len(maxima) - 1
    n_lines = len(line_links)
    histogram = np.zeros(_ENERGY_STEPS, dtype=np.float64)
    entries = 0
    # By block first; then sorted by term.
    entry_terms = np.empty(1024, dtype=np.int64)
    entry_blocks = np.empty(1024, dtype=np.uint16)
    entry_values = np.empty(1024, dtype=np.uint8)
    for b in range(len(starts) - 1):
        n_touched = 0
        for i in range(starts[b], starts[b + 1]):
            line = np.int64(blocks[i])
            while True:
                for p in range(width):
                    steps = line_bytes[line, width * term_bytes + p]
                    if steps == 0:
                        break
                    term = np.int64(line_terms[line, p]) & mask
                    if maxima[term] == 0:
                        touched[n_touched] = term
                        n_touched += 1
                    if steps > maxima[term]:
                        maxima[term] = steps
                following = np.int64(line_links[line, 15])
                if following <= line or following >= n_lines:
                    break
                line = following
        largest = 0.0
        total = 0.0
        for j in range(n_touched):
            value = np.float64(maxima[touched[j]]) * np.float64(scale[touched[j]])
            total += value
            largest = max(largest, value)
        # The smallest value to keep: by a histogram, so the share kept is `energy` or a little more.
        to_step = (_ENERGY_STEPS - 1) / largest if largest > 0 else 0.0
        histogram[:] = 0
        for j in range(n_touched):
            value = np.float64(maxima[touched[j]]) * np.float64(scale[touched[j]])
            histogram[np.int64(value * to_step)] += value
        step = _ENERGY_STEPS - 1
        mass = histogram[step]
        while step > 0 and mass < energy * total:
            step -= 1
            mass += histogram[step]
        while entries + n_touched > len(entry_terms):
            entry_terms = np.concatenate((entry_terms, np.empty_like(entry_terms)))
            entry_blocks = np.concatenate((entry_blocks, np.empty_like(entry_blocks)))
            entry_values = np.concatenate((entry_values, np.empty_like(entry_values)))
        for j in range(n_touched):
            term = touched[j]
            value = np.float64(maxima[term]) * np.float64(scale[term])
            if np.int64(value * to_step) >= step:
                entry_terms[entries] = term
                entry_blocks[entries] = b
                entry_values[entries] = maxima[term]
                entries += 1
            maxima[term] = 0
    # Counting sort by term; the order of blocks within a term stays.
    rows = 0
    for e in range(entries):
        if row_of[entry_terms[e]] == 0:
            touched[rows] = entry_terms[e]
            rows += 1
        row_of[entry_terms[e]] += 1
    distinct = np.sort(touched[:rows])
    row_terms = np.empty(rows, dtype=np.uint32)
    row_starts = np.empty(rows + 1, dtype=np.int64)
    row_blocks = np.empty(entries, dtype=np.uint16)
    row_values = np.empty(entries, dtype=np.uint8)
    position = np.int64(0)
    for r in range(rows):
        row_terms[r] = distinct[r]
        row_starts[r] = position
        count = row_of[distinct[r]]
        row_of[distinct[r]] = position
        position += count
    row_starts[rows] = position
    for e in range(entries):
        at = row_of[entry_terms[e]]
        row_blocks[at] = entry_blocks[e]
        row_values[at] = entry_values[e]
        row_of[entry_terms[e]] = at + 1
    for r in range(rows):
        row_of[distinct[r]] = 0
    return row_terms, row_starts, row_blocks, row_values


@njit(cache=True, nogil=True)
def build_lists(
    list_start, list_docs, seeds, centroid_fraction, min_size, max_blocks, doc_cut, energy,
    line_terms, line_bytes, line_links, scale, heads, maxima, touched, row_of,
):  # fmt: skip
    """Cluster and summarise some lists, and return their parts, one list behind the other:

    list_blocks    int64[n]  blocks of each list          list_rows    int64[n]  summary rows of each list
    block_sizes    uint32[]  documents of each block      block_docs   uint32[len(list_docs)]
    row_terms      uint32[]                               row_sizes    uint32[]  entries of each row
    entry_blocks   uint16[]  block numbers in the list    entry_values uint8[]

    list_start  int64[n + 1]; list i is list_docs[list_start[i]:list_start[i + 1]]     seeds  int64[n]
    max_blocks  at most this many blocks a list, which uint16 must hold
    The rest as in `cluster_list` and `summarise_list`, whose oracles define this too.
    """
    n = len(list_start) - 1
    list_blocks = np.zeros(n, dtype=np.int64)
    list_rows = np.zeros(n, dtype=np.int64)
    block_docs = np.empty(len(list_docs), dtype=np.uint32)
    block_sizes = np.empty(len(list_docs), dtype=np.uint32)
    row_terms = np.empty(1024, dtype=np.uint32)
    row_sizes = np.empty(1024, dtype=np.uint32)
    entry_blocks = np.empty(1024, dtype=np.uint16)
    entry_values = np.empty(1024, dtype=np.uint8)
    n_blocks, n_rows, n_entries = 0, 0, 0
    for i in range(n):
        first, stop = list_start[i], list_start[i + 1]
        size = stop - first
        if size == 0:
            continue
        n_centroids = np.int64(np.ceil(size * centroid_fraction))
        n_centroids = max(np.int64(1), min(n_centroids, np.int64(max_blocks), size))
        starts = np.empty(n_centroids + 1, dtype=np.int64)
        blocks = block_docs[first:stop]
        found = cluster_list(
            list_docs[first:stop], seeds[i], n_centroids, min_size, doc_cut, line_terms, line_bytes, scale, heads,
            blocks, starts,
        )  # fmt: skip
        for b in range(found):
            block_sizes[n_blocks + b] = starts[b + 1] - starts[b]
        n_blocks += found
        list_blocks[i] = found
        terms, ends, in_blocks, values = summarise_list(
            blocks, starts[: found + 1], energy, line_terms, line_bytes, line_links, scale, maxima, touched, row_of
        )
        while n_rows + len(terms) > len(row_terms):
            row_terms = np.concatenate((row_terms, np.empty_like(row_terms)))
            row_sizes = np.concatenate((row_sizes, np.empty_like(row_sizes)))
        while n_entries + len(values) > len(entry_values):
            entry_blocks = np.concatenate((entry_blocks, np.empty_like(entry_blocks)))
            entry_values = np.concatenate((entry_values, np.empty_like(entry_values)))
        row_terms[n_rows : n_rows + len(terms)] = terms
        for r in range(len(terms)):
            row_sizes[n_rows + r] = ends[r + 1] - ends[r]
        n_rows += len(terms)
        list_rows[i] = len(terms)
        entry_blocks[n_entries : n_entries + len(values)] = in_blocks
        entry_values[n_entries : n_entries + len(values)] = values
        n_entries += len(values)
    return (
        list_blocks,
        list_rows,
        block_sizes[:n_blocks].copy(),
        block_docs,
        row_terms[:n_rows].copy(),
        row_sizes[:n_rows].copy(),
        entry_blocks[:n_entries].copy(),
        entry_values[:n_entries].copy(),
    )
