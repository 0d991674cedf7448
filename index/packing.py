"""Building the lines: every document's terms by falling impact, in sketch steps and canonically (see kernels.lines).

Two passes over the rows: the first finds each document's heaviest terms, which decide where its lines are, the second
fills them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.incoming import Chunk, IncomingRows
from index.kernels.lines import LINE_BYTES, heaviest_terms, pack_lines
from index.new_arrays import NewArrays
from index.segment import line_views, terms_per_line

_CHUNK = 1 << 15
_SAMPLE = 10_000


class Lines(NamedTuple):
    """Lines, the canonical impacts beside them, and which document is where, as in `Segment`.

    `rest` is int64[n_docs + 1]: the further lines of the document with first line i are rest[i] .. rest[i + 1].
    """

    lines: NDArray[np.uint8]
    impacts: NDArray[Any]
    doc_lines: NDArray[np.uint32]
    rest: NDArray[np.int64]
    term_type: np.dtype[Any]

    def views(self) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]]:
        """The lines as the kernels take them."""
        return line_views(self.lines, self.term_type)


def pack_all_lines(
    rows: IncomingRows,
    numbers: NDArray[np.uint32],
    scale: NDArray[np.float32],
    arrays: NewArrays,
    threads: int,
    progress: Callable[[int], None],
) -> Lines:
    """Create and fill the arrays `lines`, `impacts`, `doc_lines` and `line_docs`.

    numbers   the segment's number of each incoming one     scale  float32[n_local], by the segment's number
    """
    term_type = np.dtype(np.uint16 if len(numbers) <= 2**16 else np.uint32)
    width = terms_per_line(term_type)
    line_docs = arrays.create("line_docs", (rows.n_docs,), np.uint32)
    doc_lines = arrays.create("doc_lines", (rows.n_docs,), np.uint32)
    line_docs[:] = _by_heaviest_terms(rows, numbers, threads)
    doc_lines[line_docs] = np.arange(rows.n_docs, dtype=np.uint32)
    rest = np.zeros(rows.n_docs + 1, dtype=np.int64)
    np.cumsum(np.maximum(1, -(-rows.lengths[line_docs] // width)) - 1, out=rest[1:])
    rest += rows.n_docs
    lines = arrays.create("lines", (int(rest[-1]), LINE_BYTES), np.uint8)
    impacts = arrays.create("impacts", (int(rest[-1]), width), rows.impact_type)
    packed = Lines(lines, impacts, doc_lines, rest, term_type)
    views = packed.views()
    with np.errstate(divide="ignore"):
        inverse = np.where(scale > 0, np.float32(1.0) / scale, np.float32(0.0)).astype(np.float32)

    def work(chunk: Chunk) -> int:
        stored = chunk.impacts
        values = _values(stored)
        terms = numbers[chunk.terms]
        at = doc_lines[chunk.first : chunk.first + len(chunk.indptr) - 1]
        pack_lines(at, chunk.indptr, terms, values, stored, inverse, rest[at], *views, impacts)
        return chunk.first + len(chunk.indptr) - 1

    for done in in_order(work, rows.chunks(_CHUNK), threads):
        progress(done)
    return packed


def _by_heaviest_terms(rows: IncomingRows, numbers: NDArray[np.uint32], threads: int) -> NDArray[np.int64]:
    """Return the documents by their three heaviest terms, ties by rising document: the order of the first lines."""
    keys = np.empty(rows.n_docs, dtype=np.int64)

    def work(chunk: Chunk) -> None:
        values = _values(chunk.impacts)
        at = slice(chunk.first, chunk.first + len(chunk.indptr) - 1)
        heaviest_terms(chunk.indptr, numbers[chunk.terms], values, keys[at])

    for _ in in_order(work, rows.chunks(_CHUNK), threads):
        pass
    return np.argsort(keys, kind="stable")


def first_line_share(packed: Lines) -> float:
    """Return which share of its documents' mass the first lines hold, at most .7: what `beta` is set to.

    A text whose encoder concentrates its mass less tells less by its first line.
    """
    n_docs = len(packed.rest) - 1
    sample = np.linspace(0, n_docs - 1, min(n_docs, _SAMPLE)).astype(np.int64)
    shown = _mass(packed.impacts[sample])
    whole = shown
    for line in sample.tolist():
        if packed.rest[line] < packed.rest[line + 1]:
            whole += _mass(packed.impacts[packed.rest[line] : packed.rest[line + 1]])
    return min(0.7, shown / whole) if whole > 0 else 0.7


def in_order(work: Callable[..., Any], jobs: Iterator[Any], threads: int) -> Iterator[Any]:
    """Yield work(job) of each job, in their order, done by a pool of threads; a few jobs are made ahead, not all."""
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


def _values(stored: NDArray[Any]) -> NDArray[np.float32]:
    return stored.view(np.float16).astype(np.float32) if stored.dtype == np.uint16 else stored


def _mass(impacts: NDArray[Any]) -> float:
    return float((impacts.view(np.float16) if impacts.dtype == np.uint16 else impacts).sum(dtype=np.float64))
