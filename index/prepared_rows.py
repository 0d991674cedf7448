"""Rows of documents that are not in a segment yet: checked once, joined as they grow in number, scored by every query.

Making them costs as much as copying them; nothing is sorted. A query's weights are written to a table as wide as the
rows' terms, which each thread keeps and clears after use, and every row is read once: some nanoseconds per entry, fast
enough for the thousands of rows that wait to be sealed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.canonical_weights import stored
from index.kernels.forward import score_rows as score_in_kernel
from index.vectors import check_query, check_rows

_of_thread = threading.local()


class PreparedRows:
    """Checked rows with canonical impacts. Never changes; `of` and `join` make them."""

    def __init__(self, start: NDArray[np.int64], terms: NDArray[np.uint32], impacts: NDArray[Any]) -> None:
        """Keep checked arrays: start int64[n + 1], terms ascending in each row, impacts as `stored` returns them."""
        self._start = _fixed(start)
        self._terms = _fixed(terms)
        self._impacts = _fixed(impacts)
        self._width = int(terms.max()) + 1 if len(terms) else 0

    @classmethod
    def of(cls, matrix: Any, impact_dtype: str = "float16") -> PreparedRows:
        """Return a csr_array float32 [n, terms] as rows, checked as by `SparseIndex.build`.

        Raises VectorError, ConfigError.
        """
        rows = check_rows(matrix)
        return cls(rows.indptr, rows.terms, stored(rows.values, impact_dtype))

    @classmethod
    def join(cls, parts: Sequence[tuple[PreparedRows, NDArray[np.bool_]]]) -> PreparedRows:
        """Return the rows of all parts, one after the other, that are marked in bool[len(part)]."""
        kept = [part._entries(np.flatnonzero(marked)) for part, marked in parts]
        lengths, terms, impacts = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        start = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=start[1:])
        return cls(start, terms, impacts)

    def __len__(self) -> int:
        return len(self._start) - 1

    @property
    def nnz(self) -> int:
        """Entries of all rows together."""
        return len(self._terms)

    def row(self, at: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return a row: (term ids int64, ascending; canonical impacts float32)."""
        entries = slice(int(self._start[at]), int(self._start[at + 1]))
        return self._terms[entries].astype(np.int64), _values(self._impacts[entries])

    def packed(self) -> list[bytes]:
        """Return each row as bytes: its number of terms (uint32), the term ids (uint32), the impacts (float32)."""
        terms = self._terms.astype("<u4", copy=False).data.cast("B")
        impacts = _values(self._impacts).astype("<f4", copy=False).data.cast("B")
        ends = (4 * self._start).tolist()
        return [
            b"".join([((stop - first) >> 2).to_bytes(4, "little"), terms[first:stop], impacts[first:stop]])
            for first, stop in pairwise(ends)
        ]

    def document_frequencies(
        self, term_ids: NDArray[np.int64], rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Return in how many of the rows, all or those given, each term occurs, int64[len(term_ids)]."""
        if rows is None:
            counts = self._counts
        else:
            counts = np.bincount(self._entries(rows)[1], minlength=self._width)
        known = np.minimum(term_ids, self._width - 1)
        return np.where(term_ids < self._width, counts[known], 0) if self._width else np.zeros_like(term_ids)

    def score(self, term_ids: ArrayLike, weights: ArrayLike) -> NDArray[np.float32]:
        """Return each row's canonical score, float32[n]; -1 for a row that shares no term with the query.

        term_ids  int[m], in any order; ids that no row holds match nothing     weights  float[m], not negative

        Safe to call from many threads; the kernel releases the GIL. Raises VectorError.
        """
        ids, values = check_query(term_ids, weights)
        scores = np.full(len(self), -1.0, dtype=np.float32)
        known = int(np.searchsorted(ids, self._width))
        if known:
            table = _table(self._width)
            table[ids[:known]] = values[:known]
            score_in_kernel(self._start, self._terms, self._impacts, table, scores)
            table[ids[:known]] = 0
        return scores

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return np.bincount(self._terms, minlength=self._width)

    def _entries(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[Any]]:
        """Return (lengths, terms, impacts) of rows in ascending order."""
        if len(rows) == len(self):
            return np.diff(self._start), self._terms, self._impacts
        lengths = self._start[rows + 1] - self._start[rows]
        first = np.cumsum(lengths) - lengths
        at = np.arange(int(lengths.sum())) + np.repeat(self._start[rows] - first, lengths)
        return lengths, self._terms[at], self._impacts[at]


def score_rows(
    matrix: Any, term_ids: ArrayLike, weights: ArrayLike, *, impact_dtype: str = "float16"
) -> NDArray[np.float32]:
    """Return `PreparedRows.of(matrix, impact_dtype).score(term_ids, weights)`: for rows that are scored only once."""
    return PreparedRows.of(matrix, impact_dtype).score(term_ids, weights)


def _table(width: int) -> NDArray[np.float32]:
    """Return this thread's table, zeroed, of at least `width` entries."""
    table: NDArray[np.float32] | None = getattr(_of_thread, "table", None)
    if table is None or len(table) < width:
        table = _of_thread.table = np.zeros(1 << width.bit_length(), dtype=np.float32)
    return table


def _values(impacts: NDArray[Any]) -> NDArray[np.float32]:
    held = impacts.view(np.float16) if impacts.dtype == np.uint16 else impacts
    return held.astype(np.float32)


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as read-only, as a mapped file is: kernels are compiled for one type then, not for two."""
    view = array.view()
    view.setflags(write=False)
    return view
