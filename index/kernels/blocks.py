"""Building the blocks of candidate lists: clustered (kernels.clustering), then summarised (kernels.summaries).

A list holds the documents with the largest impacts of a term (kernels.postings), by their lines. A short list is one
block without a summary, which a search always visits. Lists are independent of each other, and a list's chance is
seeded with its collection term id, so its blocks depend on its documents alone.

Source: Bruch, Nardini, Rulli, Venturini, Efficient inverted indexes for approximate retrieval over learned sparse
representations, SIGIR 2024.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.kernels.clustering import cluster_list
from index.kernels.summaries import summarise_block


class BlockShape(NamedTuple):
    """How lists become blocks, by IndexConfig's names.

    short_list      a list of at most this many documents is one block without a summary
    summary_lines   lines of a summary
    """

    centroid_fraction: float
    min_cluster_size: int
    short_list: int
    doc_cut: int
    summary_lines: int


class BuildScratch(NamedTuple):
    """What a build of blocks writes to: see `cluster_list` for heads, `summarise_block` for the others."""

    heads: NDArray[np.int32]
    maxima: NDArray[np.uint8]
    touched: NDArray[np.int64]


class NewBlocks(NamedTuple):
    """The blocks of some lists, list by list.

    docs          uint32[all lists' documents], block by block
    sizes         uint32[the same length], documents of each block
    summary_terms, summary_bytes   the summaries' lines, zeroed, with room for each block's (see `most_blocks`)
    list_blocks   int64[n_lists], blocks of each list
    """

    docs: NDArray[np.uint32]
    sizes: NDArray[np.uint32]
    summary_terms: NDArray[Any]
    summary_bytes: NDArray[np.uint8]
    list_blocks: NDArray[np.int64]


@njit(cache=True, nogil=True)
def build_lists(list_start, list_docs, seeds, shape, documents, scale, scratch, out):
    """Cluster and summarise some lists, write `out`, and return the number of summary lines written.

    list_start   int64[n + 1]; list i is list_docs[list_start[i]:list_start[i + 1]], uint32     seeds  int64[n]
    shape        BlockShape     documents  kernels.lines.Documents
    scale        float32[power of two above every term]
    scratch      BuildScratch     out  NewBlocks

    Oracles: those of `cluster_list` and `summarise_block`.
    """
    heads, maxima, touched = scratch.heads, scratch.maxima, scratch.touched
    line_terms, line_bytes = documents.line_terms, documents.line_bytes
    n_blocks = 0
    lines = 0
    for i in range(len(list_start) - 1):
        first, stop = list_start[i], list_start[i + 1]
        size = stop - first
        out.list_blocks[i] = 0
        if size == 0:
            continue
        if size <= shape.short_list:
            out.docs[first:stop] = list_docs[first:stop]
            out.sizes[n_blocks] = size
            out.list_blocks[i] = 1
            n_blocks += 1
            continue
        n_centroids = most_blocks(size, shape.centroid_fraction)
        starts = np.empty(n_centroids + 1, dtype=np.int64)
        blocks = out.docs[first:stop]
        found = cluster_list(
            list_docs[first:stop], seeds[i], n_centroids, shape.min_cluster_size, shape.doc_cut, line_terms,
            line_bytes, scale, heads, blocks, starts,
        )  # fmt: skip
        out.list_blocks[i] = found
        for b in range(found):
            out.sizes[n_blocks] = starts[b + 1] - starts[b]
            n_blocks += 1
            block = blocks[starts[b] : starts[b + 1]]
            summarise_block(
                block, shape.summary_lines, documents, scale, maxima, touched, out.summary_terms, out.summary_bytes,
                lines,
            )  # fmt: skip
            lines += shape.summary_lines
    return lines


@njit(cache=True, nogil=True)
def most_blocks(size, centroid_fraction):
    """Return how many centroids a list of `size` documents gets: at least one, at most its documents."""
    return max(1, min(np.int64(size), np.int64(np.ceil(size * centroid_fraction))))
