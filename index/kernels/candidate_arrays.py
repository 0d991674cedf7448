"""What candidate search reads and writes: arrays that belong together, as named tuples.

Kernels pass these on to each other. Python passes arrays to a kernel one at a time, because unpacking a tuple of arrays
at that boundary takes 8 to 30 microseconds (docs/decisions/0111); the kernel builds the tuples. An array that is read
from a tuple is counted as a reference, atomically, so functions read what their loops use once, at the top.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class CandidateParameters(NamedTuple):
    """How thorough a candidate search is.

    query_cut     query terms that lead to blocks: those with the largest possible contribution
    heap_factor   share of the threshold that a block's estimate must reach for a visit
    beta          share of the threshold that a document's sketch must reach, or the document is dropped; 0: none is
    n_knn         neighbours of each document found that are scored, too
    """

    query_cut: int
    heap_factor: float
    beta: float
    n_knn: int = 0


class Queries(NamedTuple):
    """Checked queries in a segment's own term numbers.

    start   int64[n + 1] into terms, uint32[], and weights, float32[], above 0
    """

    start: NDArray[np.int64]
    terms: NDArray[np.uint32]
    weights: NDArray[np.float32]


class Query(NamedTuple):
    """One of them: terms uint32[m], weights float32[m], above 0."""

    terms: NDArray[np.uint32]
    weights: NDArray[np.float32]


class CandidateLists(NamedTuple):
    """Postings lists cut to their largest impacts, in blocks.

    list_block      int64[n_terms + 1] into block_start
    list_summary    int64[n_terms + 1] into summary_*: the same number of lines for each block of a list, or none at
                    all, which means that the list is short and always visited
    block_start     uint32[n_blocks + 1] into block_docs, uint32[]: documents, by their lines
    summary_terms   uint16[n, 32]|uint32[n, 16], summary_bytes  uint8[n, 64]: the same lines, see kernels.lines
    """

    list_block: NDArray[np.int64]
    list_summary: NDArray[np.int64]
    block_start: NDArray[np.uint32]
    block_docs: NDArray[np.uint32]
    summary_terms: NDArray[Any]
    summary_bytes: NDArray[np.uint8]


class AllowedDocuments(NamedTuple):
    """Which documents may be returned.

    allowed     bool[n_docs], or bool[0] for every document
    line_docs   uint32[n_docs]; the document of each line
    """

    allowed: NDArray[np.bool_]
    line_docs: NDArray[np.uint32]


class CandidateScratch(NamedTuple):
    """What a candidate search writes to, made once for many searches.

    per_step    uint16[65,536] for 16-bit terms, else uint16[power of two above every term]; zeroed, and left so
    per_unit    float32[the same length], zeroed, and left so; for both see `sketches.fill_tables`
    visited     uint8[n_docs]; holds epoch[0] for each document that this query has visited
    epoch       int64[1], the number of the query that was last: 0 .. 255
    estimates   int64[], order int64[]; room for the blocks of all lists that query_cut allows
    batch       int64[257 or the query's length, the larger]
    firsts      int64[256], the sketch scores of a batch's documents
    heap        int64[n], n is how many candidates to keep; see kernels.heap
    counters    int64[4]; blocks estimated, blocks visited, documents scored by their sketch, documents scored
                further: added to
    """

    per_step: NDArray[np.uint16]
    per_unit: NDArray[np.float32]
    visited: NDArray[np.uint8]
    epoch: NDArray[np.int64]
    estimates: NDArray[np.int64]
    order: NDArray[np.int64]
    batch: NDArray[np.int64]
    firsts: NDArray[np.int64]
    heap: NDArray[np.int64]
    counters: NDArray[np.int64]
