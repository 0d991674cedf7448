"""The rows that a build reads: checked, rounded, numbered, counted, and kept in a temporary file until all have come.

Batches are read once. What a build needs first (how many documents hold each term, its largest impact, each document's
length) is only known after the last batch, so the rows wait in a temporary file: four bytes per term, two or four per
impact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.canonical_weights import stored
from index.errors import VectorError
from index.kernels.numbering import fill_slots, number_terms
from index.vectors import Rows, check_batch

_SLOTS = 1 << 12


class IncomingRows:
    """Reads batches with `add`; afterwards returns the rows with `chunks`. A term's number is its place in `ids`."""

    def __init__(self, impact_dtype: str, terms: BinaryIO, impacts: BinaryIO) -> None:
        """`terms` and `impacts` are empty files for the rows."""
        self.impact_type = np.dtype(np.uint16 if impact_dtype == "float16" else np.float32)
        self.n_docs = 0
        self.n_terms = 0
        self.nnz = 0
        self._impact_dtype = impact_dtype
        self._terms, self._impacts = terms, impacts
        self._lengths: list[NDArray[np.int64]] = []
        self._numbering = _Numbering()

    def add(self, matrix: Any) -> None:
        """Add a csr_array [n, terms]; raises VectorError naming the row, OSError for a full disk."""
        for rows in check_batch(matrix, what="document", first_row=self.n_docs):
            try:
                kept = stored(rows.values, self._impact_dtype)
            except VectorError as error:
                raise VectorError(_locate(rows, self._impact_dtype, self.n_docs)) from error
            lengths, terms = np.diff(rows.indptr), rows.terms
            # An impact that rounds to 0 is dropped: the document does not hold the term.
            if not (present := kept > 0).all():
                starts = np.concatenate([[0], np.cumsum(present)])
                lengths, terms, kept = np.diff(starts[rows.indptr]), terms[present], kept[present]
            numbers = self._numbering.number(terms, kept.view(f"u{kept.itemsize}"))
            self._terms.write(numbers.tobytes())
            self._impacts.write(kept.tobytes())
            self._lengths.append(lengths)
            self.n_docs += len(lengths)
            self.nnz += len(terms)
            self.n_terms = max(self.n_terms, rows.n_terms)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Terms of each document, int64[n_docs]."""
        return np.concatenate(self._lengths) if self._lengths else np.zeros(0, dtype=np.int64)

    @property
    def ids(self) -> NDArray[np.uint32]:
        """The collection term id of each number, in the order of first appearance."""
        return self._numbering.ids[: self._numbering.n]

    @property
    def frequencies(self) -> NDArray[np.int64]:
        """The number of documents that hold each numbered term."""
        return self._numbering.frequencies[: self._numbering.n]

    @property
    def largest(self) -> NDArray[np.float32]:
        """The largest impact of each numbered term."""
        keys = self._numbering.largest[: self._numbering.n]
        if self.impact_type == np.float32:
            return keys.view(np.float32)
        return keys.astype(np.uint16).view(np.float16).astype(np.float32)

    def chunks(self, n: int) -> Iterator[Chunk]:
        """Yield all rows, `n` documents at a time."""
        self._terms.seek(0)
        self._impacts.seek(0)
        lengths = self.lengths
        for first in range(0, self.n_docs, n):
            indptr = np.zeros(min(n, self.n_docs - first) + 1, dtype=np.int64)
            np.cumsum(lengths[first : first + n], out=indptr[1:])
            nnz = int(indptr[-1])
            terms = np.frombuffer(self._terms.read(4 * nnz), dtype=np.uint32)
            impacts = np.frombuffer(self._impacts.read(self.impact_type.itemsize * nnz), dtype=self.impact_type)
            yield Chunk(first, indptr, terms, impacts)


class Chunk(NamedTuple):
    """Some consecutive rows: the first one's document number, where each starts, and their terms and impacts."""

    first: int
    indptr: NDArray[np.int64]
    terms: NDArray[np.uint32]
    impacts: NDArray[Any]


class _Numbering:
    """Terms numbered by first appearance, with the number of occurrences and the largest key of each."""

    def __init__(self) -> None:
        self.n = 0
        self.slots = np.full(_SLOTS, -1, dtype=np.int32)
        self.ids = np.zeros(_SLOTS // 2, dtype=np.uint32)
        self.frequencies = np.zeros(_SLOTS // 2, dtype=np.int64)
        self.largest = np.zeros(_SLOTS // 2, dtype=np.uint32)

    def number(self, terms: NDArray[np.uint32], keys: NDArray[Any]) -> NDArray[np.uint32]:
        numbers = np.empty(len(terms), dtype=np.uint32)
        done = 0
        while True:
            done, self.n = number_terms(
                done, terms, keys, self.slots, self.ids, self.frequencies, self.largest, self.n, numbers
            )
            if done == len(terms):
                return numbers
            self.slots = np.full(2 * len(self.slots), -1, dtype=np.int32)
            fill_slots(self.ids, self.slots)
            self.ids, self.frequencies, self.largest = (
                np.concatenate([held, np.zeros_like(held)]) for held in (self.ids, self.frequencies, self.largest)
            )


def _locate(rows: Rows, dtype: str, first_row: int) -> str:
    with np.errstate(over="ignore"):
        at = int(np.flatnonzero(~np.isfinite(rows.values.astype(dtype)))[0])
    row = int(np.searchsorted(rows.indptr, at, side="right")) - 1
    return f"document {first_row + row}: the weight {rows.values[at]:g} is more than a {dtype} can hold"
