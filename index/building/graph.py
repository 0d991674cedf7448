"""The graph of nearest neighbours: which documents are most like each document, built on request.

Documents that answer a query tend to be neighbours of each other, so the neighbours of the candidates found in blocks
are worth scoring (Bruch, Nardini, Rulli, Venturini, Pairing clustered inverted indexes with k-NN graphs, CIKM 2024).
The graph is built with the index's own approximate search: each document's sketch is a query.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from index.arrays.segment import Segment
from index.kernels.candidate_arrays import CandidateParameters, Queries
from index.kernels.lines import terms_per_line
from index.searching.approximate import ScratchPool, approximate_search
from index.searching.parameters import EVERYTHING

# How thoroughly neighbours are searched: a wrong one only takes the place of a better one.
_PARAMETERS = CandidateParameters(query_cut=5, heap_factor=0.9, beta=0.7)
_CHUNK = 1024


def build_neighbours(
    segment: Segment, n_knn: int, threads: int, progress: Callable[[str, int, int], None] | None = None
) -> NDArray[np.uint32]:
    """Return each document's nearest others by inner product, uint32[n_docs, n_knn], nearest first, all by lines.

    A document that has fewer is its own neighbour in the unused places. The result does not depend on `threads`.
    """
    n_docs = segment.n_docs
    neighbours = np.empty((n_docs, n_knn), dtype=np.uint32)
    neighbours[:] = np.arange(n_docs, dtype=np.uint32)[:, np.newaxis]
    pool = ScratchPool(segment)

    def work(first: int) -> int:
        stop = min(n_docs, first + _CHUNK)
        queries = _documents_as_queries(segment, first, stop)
        scratch = pool.take()
        ids, _, found = approximate_search(segment, scratch, queries, n_knn + 1, _PARAMETERS, EVERYTHING)
        pool.put_back(scratch)
        for i, line in enumerate(range(first, stop)):
            others = segment.lines_of(ids[i, : found[i]])
            others = others[others != line][:n_knn]
            neighbours[line, : len(others)] = others
        return stop

    with ThreadPoolExecutor(threads) as workers:
        for stop in workers.map(work, range(0, n_docs, _CHUNK)):
            if progress is not None:
                progress("neighbours", stop, n_docs)
    neighbours.setflags(write=False)
    return neighbours


def _documents_as_queries(segment: Segment, first: int, stop: int) -> Queries:
    """Return the lines first .. stop, which hold their documents' heaviest terms, as queries."""
    numbers, as_bytes = segment.documents.line_terms, segment.documents.line_bytes
    width = terms_per_line(segment.term_type)
    terms = numbers[first:stop, :width].astype(np.uint32)
    steps = as_bytes[first:stop, width * segment.term_type.itemsize :][:, :width]
    weights = (segment.scale[np.minimum(terms, len(segment.scale) - 1)] * steps).astype(np.float32)
    held = weights > 0
    start = np.zeros(stop - first + 1, dtype=np.int64)
    np.cumsum(held.sum(axis=1), out=start[1:])
    return Queries(start, terms[held], weights[held])
