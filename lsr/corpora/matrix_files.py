"""Sparse matrices in files: one row per document, numbered from 0; one column per term.

    .npz    scipy.sparse.save_npz, any layout that becomes CSR
    .csr    BigANN: int64 rows, columns, entries; int64 indptr; int32 indices; float32 data
    .bin    Seismic: uint32 rows; for each row uint32 length, uint32 terms, float32 weights

All little-endian. These files have no texts and no ids: row 17 becomes the document "17". The last two are mapped into
memory, so their size does not matter. A structural error (a wrong file length, descending offsets) refuses the whole
file; an invalid weight or term number refuses only its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lsr.corpora.corpus import CorpusLine
from lsr.documents import DEFAULT_VECTOR, MAX_TERM, Document, SparseByIndex
from lsr.errors import CorpusUnreadable, InvalidDocument
from lsr.input_file import InputFile

SUFFIXES: Final = (".npz", ".csr", ".bin")

Row = tuple[NDArray[np.int64], NDArray[np.float32]]


class MatrixCorpus:
    """The rows of a matrix file as documents with a vector and no text."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, name: str, file: InputFile) -> None:
        """Raises CorpusUnreadable if the file has none of the three formats or is inconsistent."""
        self.name = name
        self.position = 0
        self._file = file
        suffix = Path(file.name).suffix
        if suffix == ".npz":
            self._rows: _CsrRows | _SeismicRows = _read_npz(file.path)
        elif suffix == ".csr":
            self._rows = _map_bigann(file.path)
        else:
            self._rows = _SeismicRows(file.path)
        self.size: int | None = self._rows.count

    def identity(self) -> str | None:
        """Return a string that is equal for the same unchanged file; None for what can be read only once."""
        return self._file.identity()

    def __iter__(self) -> Iterator[CorpusLine]:
        self.position = 0
        for terms, weights in self._rows:
            self.position += 1
            yield CorpusLine(self.position, _content(str(self.position - 1), terms, weights))


def _content(identifier: str, terms: NDArray[np.int64], weights: NDArray[np.float32]) -> Document | InvalidDocument:
    if not np.isfinite(weights).all() or (weights < 0).any():
        detail = f"row {identifier}: a weight is negative or not finite"
        return InvalidDocument("invalid_sparse", detail, field="sparse")
    if terms.size and (terms.min() < 0 or terms.max() > MAX_TERM):
        return InvalidDocument("invalid_sparse", f"row {identifier}: a term number is out of range", field="sparse")
    if np.unique(terms).size != terms.size:
        return InvalidDocument("invalid_sparse", f"row {identifier}: a term occurs twice", field="sparse")
    vector = SparseByIndex(tuple(terms.tolist()), tuple(weights.tolist()))
    return Document(identifier, vectors={DEFAULT_VECTOR: vector})


class _CsrRows:
    def __init__(self, path: Path, indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any]) -> None:
        if indptr[0] != 0 or indptr[-1] != len(indices) or len(indices) != len(data) or (np.diff(indptr) < 0).any():
            raise CorpusUnreadable(f"{path}: the row offsets do not match its {len(indices):,} entries")
        self.count = len(indptr) - 1
        self._indptr = indptr
        self._indices = indices
        self._data = data

    def __iter__(self) -> Iterator[Row]:
        for row in range(self.count):
            place = slice(int(self._indptr[row]), int(self._indptr[row + 1]))
            yield self._indices[place].astype(np.int64), self._data[place].astype(np.float32)


class _SeismicRows:
    """Rows of different lengths, concatenated; one pass over the lengths checks that they add up."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        if size < 4 or size % 4:
            raise CorpusUnreadable(f"{path}: its size, {size} bytes, is not a multiple of 4")
        self._words = np.memmap(path, dtype="<u4", mode="r")
        self.count = int(self._words[0])
        place = 1
        for _ in range(self.count):
            if place >= len(self._words):
                raise CorpusUnreadable(f"{path}: the file ends before the last of its {self.count:,} rows")
            place += 1 + 2 * int(self._words[place])
        if place != len(self._words):
            raise CorpusUnreadable(f"{path}: its rows need {4 * place:,} bytes, but it has {size:,}")

    def __iter__(self) -> Iterator[Row]:
        place = 1
        for _ in range(self.count):
            length = int(self._words[place])
            terms = self._words[place + 1 : place + 1 + length]
            weights = self._words[place + 1 + length : place + 1 + 2 * length]
            yield terms.astype(np.int64), weights.view("<f4").astype(np.float32)
            place += 1 + 2 * length


def _read_npz(path: Path) -> _CsrRows:
    from scipy.sparse import csr_array, load_npz

    try:
        # load_npz never unpickles; NumPy's and SciPy's own checks refuse a hostile file.
        with path.open("rb") as file:
            matrix = csr_array(load_npz(file))
        matrix.sum_duplicates()
    except Exception as error:  # a damaged zip or array header can raise almost any error
        raise CorpusUnreadable(f"{path}: not a sparse matrix as scipy.sparse.save_npz writes it: {error}") from None
    return _CsrRows(path, matrix.indptr, matrix.indices, matrix.data)


def _map_bigann(path: Path) -> _CsrRows:
    size = path.stat().st_size
    if size < 24:
        raise CorpusUnreadable(f"{path}: too short for a .csr file")
    rows, _, entries = (int(number) for number in np.fromfile(path, dtype="<i8", count=3))
    expected = 8 * (3 + rows + 1) + 8 * entries
    if rows < 0 or entries < 0 or size != expected:
        raise CorpusUnreadable(
            f"{path}: {rows:,} rows and {entries:,} entries need {expected:,} bytes, but it has {size:,}"
        )
    indptr = np.memmap(path, dtype="<i8", mode="r", offset=24, shape=(rows + 1,))
    if not entries:
        return _CsrRows(path, indptr, np.empty(0, np.int32), np.empty(0, np.float32))
    place = 24 + 8 * (rows + 1)
    indices = np.memmap(path, dtype="<i4", mode="r", offset=place, shape=(entries,))
    data = np.memmap(path, dtype="<f4", mode="r", offset=place + 4 * entries, shape=(entries,))
    return _CsrRows(path, indptr, indices, data)
