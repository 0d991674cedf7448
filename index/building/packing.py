"""Packing documents: the heaviest terms of each in its sketch, the others in further lines (see kernels.lines).

Two passes over the rows: the first finds each document's heaviest terms, which decide the order of the lines; the
second fills the lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays.new_arrays import NewArrays, new_documents
from index.building.coherent_order import coherent_order
from index.building.incoming import Chunk, IncomingRows
from index.kernels.lines import (
    Documents,
    count_terms,
    heaviest_terms,
    impact_values,
    pack_documents,
    read_documents,
)

_CHUNK = 1 << 15
_SAMPLE = 10_000


class Packed(NamedTuple):
    """Packed documents, and the number of each one's line, uint32[n_docs]."""

    documents: Documents
    doc_lines: NDArray[np.uint32]

    @property
    def term_type(self) -> np.dtype[Any]:
        """The type of term numbers: uint16 or uint32."""
        return self.documents.line_terms.dtype

    @property
    def impact_type(self) -> np.dtype[Any]:
        """The type of impacts: uint16 (float16 bits) or float32."""
        return self.documents.impacts.dtype


def pack_all(
    rows: IncomingRows,
    numbers: NDArray[np.uint32],
    scale: NDArray[np.float32],
    arrays: NewArrays,
    threads: int,
    progress: Callable[[int], None],
    *,
    coherent: bool,
) -> Packed:
    """Create and fill `lines`, `impacts`, `further`, `doc_lines` and `line_docs`.

    numbers   the segment's number of each incoming term     scale  float32[n_local], by the segment's number
    coherent  order the lines for block maxima, instead of by heaviest terms
    """
    term_type = np.dtype(np.uint16 if len(numbers) <= 2**16 else np.uint32)
    line_docs = arrays.create("line_docs", (rows.n_docs,), np.uint32)
    doc_lines = arrays.create("doc_lines", (rows.n_docs,), np.uint32)
    line_docs[:] = coherent_order(rows) if coherent else _by_heaviest_terms(rows, numbers, threads)
    doc_lines[line_docs] = np.arange(rows.n_docs, dtype=np.uint32)
    documents, links = new_documents(rows.lengths[line_docs], term_type, rows.impact_type, scale, arrays)

    def work(chunk: Chunk) -> int:
        stored = chunk.impacts
        terms = numbers[chunk.terms]
        at = doc_lines[chunk.first : chunk.first + len(chunk.indptr) - 1]
        pack_documents(at, chunk.indptr, terms, impact_values(stored), stored, links[at], documents)
        return chunk.first + len(chunk.indptr) - 1

    for done in in_order(work, rows.chunks(_CHUNK), threads):
        progress(done)
    return Packed(documents, doc_lines)


def _by_heaviest_terms(rows: IncomingRows, numbers: NDArray[np.uint32], threads: int) -> NDArray[np.int64]:
    """Return the documents by their three heaviest terms, ties by ascending document: the order of the lines."""
    keys = np.empty(rows.n_docs, dtype=np.int64)

    def work(chunk: Chunk) -> None:
        values = impact_values(chunk.impacts)
        at = slice(chunk.first, chunk.first + len(chunk.indptr) - 1)
        heaviest_terms(chunk.indptr, numbers[chunk.terms], values, keys[at])

    for _ in in_order(work, rows.chunks(_CHUNK), threads):
        pass
    return np.argsort(keys, kind="stable")


def line_share(documents: Documents) -> float:
    """Return the share of the documents' mass that their sketches hold, at most .7: the value of `beta`.

    The less an encoder concentrates the mass of a text, the less its sketch says about it.
    """
    n_docs = len(documents.impacts)
    sample = np.linspace(0, n_docs - 1, min(n_docs, _SAMPLE)).astype(np.int64)
    shown = _mass(documents.impacts[sample])
    lengths = np.empty(len(sample), dtype=np.int64)
    count_terms(sample, documents, lengths)
    terms, stored = np.empty(lengths.sum(), dtype=np.uint32), np.empty(lengths.sum(), dtype=documents.impacts.dtype)
    read_documents(sample, documents, terms, stored)
    whole = _mass(stored)
    return min(0.7, shown / whole) if whole > 0 else 0.7


def in_order(work: Callable[..., Any], jobs: Iterator[Any], threads: int) -> Iterator[Any]:
    """Yield work(job) of each job, in their order, run by a pool of threads; only a few jobs are read ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _mass(impacts: NDArray[Any]) -> float:
    return float(impact_values(impacts).sum(dtype=np.float64))
