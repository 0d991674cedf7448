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

from index.kernels.clustering import cluster_list
from index.kernels.summaries import summarise_block


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
