"""Merges several runs, each sorted by external id, into one sequence by ascending external id.

A run is a part of a new segment that was sorted in memory, or a whole segment that is merged with others. The order of
all documents takes a few bytes per document; everything else is read in windows of a few thousand documents, of which
each run provides a consecutive piece. So memory does not grow with the runs, and files are read from start to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

Quantised = tuple[NDArray[np.int8], NDArray[np.float32]]  # rows of int8 [n, dims], and a scale for each

_WINDOW = 8192  # documents in memory, dead ones included


class Run(Protocol):
    """Documents by ascending external id, with their vectors."""

    @property
    def ids(self) -> pa.ChunkedArray[Any]:
        """The external ids, large_string, distinct and ascending."""

    @property
    def live(self) -> NDArray[np.bool_] | None:
        """Which documents to keep; None: all."""

    def table(self, start: int, stop: int) -> pa.Table:
        """Return documents start .. stop, with the columns of documents.arrow."""

    def vectors(self, name: str, start: int, stop: int) -> csr_array:
        """Return the same documents' vectors, csr_array float32 [stop - start, terms]."""

    def dense(self, name: str, start: int, stop: int) -> Quantised:
        """Return the same documents' dense vectors."""


class _Window(NamedTuple):
    pieces: list[tuple[Run, int, int]]  # run, start, stop
    order: NDArray[np.int64]  # live documents by id, as positions in the concatenated pieces


class SortedRuns:
    """The live documents of all runs by ascending id; no id is live in two runs."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = list(runs)
        self._lengths = [len(run.ids) for run in runs]
        # The number of each document's run, by ascending id.
        self._run_of = np.repeat(np.arange(len(runs), dtype=np.uint32), self._lengths)
        if len(runs) > 1:
            ids = pa.chunked_array([chunk for run in runs for chunk in run.ids.chunks], pa.large_string())
            self._run_of = self._run_of[pc.sort_indices(ids).to_numpy()]

    def __len__(self) -> int:
        return sum(
            length if run.live is None else int(run.live.sum())
            for run, length in zip(self._runs, self._lengths, strict=True)
        )

    def tables(self) -> Iterator[pa.Table]:
        """Yield the documents, a few thousand at a time, each table in one chunk."""
        for window in self._windows():
            table = pa.concat_tables([run.table(start, stop) for run, start, stop in window.pieces])
            yield table.combine_chunks().take(window.order)

    def vectors(self, name: str) -> Iterator[csr_array]:
        """Yield the documents' vectors in the same order; an empty matrix if there are no documents."""
        if not len(self._run_of):
            yield join_rows([])
        for window in self._windows():
            matrix = join_rows([run.vectors(name, start, stop) for run, start, stop in window.pieces])
            yield take_rows(matrix, window.order)

    def dense(self, name: str) -> Iterator[Quantised]:
        """Yield the documents' dense vectors in the same order, as the runs hold them."""
        for window in self._windows():
            pieces = [run.dense(name, start, stop) for run, start, stop in window.pieces]
            values, scale = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
            yield values[window.order], scale[window.order]

    def _windows(self) -> Iterator[_Window]:
        starts = np.zeros(len(self._runs), dtype=np.int64)
        for first in range(0, len(self._run_of), _WINDOW):
            run_of = self._run_of[first : first + _WINDOW]
            stops = starts + np.bincount(run_of, minlength=len(self._runs))
            pieces = [
                (run, int(start), int(stop))
                for run, start, stop in zip(self._runs, starts, stops, strict=True)
                if start < stop
            ]
            live = np.concatenate([_live(*piece) for piece in pieces])
            order = np.empty(len(run_of), dtype=np.int64)
            order[np.argsort(run_of, kind="stable")] = np.arange(len(run_of))
            yield _Window(pieces, order[live[order]])
            starts = stops


def _live(run: Run, start: int, stop: int) -> NDArray[np.bool_]:
    return np.ones(stop - start, dtype=np.bool_) if run.live is None else run.live[start:stop]


def join_rows(parts: Sequence[csr_array]) -> csr_array:
    """Return the rows of all parts, concatenated, as float32 csr_array [rows, widest]; at least one column."""
    width = max([part.shape[1] for part in parts], default=1) or 1
    lengths = [np.diff(part.indptr) for part in parts]
    indptr = np.zeros(sum(map(len, lengths)) + 1, dtype=np.int64)
    if parts:
        np.cumsum(np.concatenate(lengths), out=indptr[1:])
    indices = np.concatenate([part.indices for part in parts]) if parts else np.empty(0, np.int32)
    weights = np.concatenate([part.data for part in parts]) if parts else np.empty(0, np.float32)
    return csr_array((weights.astype(np.float32, copy=False), indices, indptr), shape=(len(indptr) - 1, width))


def take_rows(matrix: csr_array, rows: NDArray[np.int64]) -> csr_array:
    """Return some rows, in the given order, as csr_array [len(rows), columns]."""
    taken: csr_array[Any, tuple[int, int]] = matrix[rows]
    return taken


def with_small_indices(matrix: csr_array) -> csr_array:
    """Return the matrix with int32 term numbers, which take half of SciPy's memory; they stay below 2**31."""
    return csr_array((matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64)), shape=matrix.shape)
