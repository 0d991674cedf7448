"""The arrays that a build fills: files of the new index's folder, written through a mapping, or memory.

A build creates each array once, of its final size or a little more. In a folder that is a .npy file whose space is
reserved at once, so that a full disk is an OSError here, and not a killed process when a page of the mapping finds no
room.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from index.errors import VectorError
from index.kernels.lines import (
    LEVELLED,
    LINE_BYTES,
    NO_LINE,
    Documents,
    documents_over,
    has_levels,
    terms_per_further_line,
    terms_per_line,
)


class NewArrays(Protocol):
    """The arrays of an index that is being built."""

    def create(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return a new array of zeros; raises OSError."""

    def shorten(self, name: str, length: int) -> None:
        """Cut an array to its first `length` rows; it is not written to afterwards."""

    def temporary(self) -> BinaryIO:
        """Return a file that is deleted when it is closed, or when the process ends in any way."""


class ArraysInMemory:
    """Arrays in memory: `arrays`, by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}

    def create(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """See `NewArrays`."""
        self.arrays[name] = aligned_zeros(shape, np.dtype(dtype))
        return self.arrays[name]

    def shorten(self, name: str, length: int) -> None:
        """See `NewArrays`."""
        self.arrays[name] = self.arrays[name][:length]

    def temporary(self) -> BinaryIO:
        """See `NewArrays`."""
        return io.BytesIO()


class ArraysInFolder:
    """Arrays as .npy files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """See `NewArrays`."""
        kind = np.dtype(dtype)
        with (self._folder / f"{name}.npy").open("xb") as file:
            offset = _write_header(file, shape, kind)
            size = kind.itemsize * int(np.prod(shape))
            if size == 0:
                return np.zeros(shape, dtype=kind)
            os.posix_fallocate(file.fileno(), 0, offset + size)
        return np.asarray(np.memmap(self._folder / f"{name}.npy", dtype=kind, mode="r+", offset=offset, shape=shape))

    def shorten(self, name: str, length: int) -> None:
        """See `NewArrays`."""
        with (self._folder / f"{name}.npy").open("r+b") as file:
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
            file.seek(0)
            # A header is padded, so a smaller number does not change its length.
            offset = _write_header(file, (length, *shape[1:]), kind)
            file.truncate(offset + kind.itemsize * length * int(np.prod(shape[1:])))

    def temporary(self) -> BinaryIO:
        """See `NewArrays`."""
        return tempfile.TemporaryFile(dir=self._folder)


@contextmanager
def append_rows(
    folder: Path, name: str, shape: tuple[int, ...], dtype: DTypeLike
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Yield a function that appends rows of `shape` to the new file `name`.npy, whose number is not known yet.

    The header is written when the block ends. Raises OSError.
    """
    kind = np.dtype(dtype)
    with (folder / f"{name}.npy").open("xb") as file:
        start = _write_header(file, (0, *shape), kind)

        def append(rows: NDArray[Any]) -> None:
            file.write(np.ascontiguousarray(rows, dtype=kind).data)

        yield append
        count = (file.tell() - start) // (kind.itemsize * int(np.prod(shape)))
        file.seek(0)
        # NumPy pads a header for any number of rows, so that this one has the same length.
        if _write_header(file, (count, *shape), kind) != start:
            raise OSError(f"{name}.npy: NumPy wrote headers of two lengths")


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return zeros that start on a cache line, as a mapped array does."""
    size = dtype.itemsize * int(np.prod(shape))
    held = np.zeros(size + 64, dtype=np.uint8)
    start = -held.ctypes.data % 64
    array: NDArray[Any] = held[start : start + size].view(dtype).reshape(shape)
    return array


def new_documents(
    lengths: NDArray[np.int64],
    term_type: np.dtype[Any],
    impact_type: np.dtype[Any],
    scale: NDArray[np.float32],
    arrays: NewArrays,
) -> tuple[Documents, NDArray[np.uint32]]:
    """Create `lines`, `impacts`, `further`, `further_impacts` for documents of these lengths, in their lines' order.

    Returns the empty documents and the links that `pack_documents` will write, uint32[n_docs]. Raises VectorError for
    more further lines than a link can number.
    """
    width = terms_per_line(term_type)
    further = np.maximum(lengths - width, 0)
    levels = has_levels(term_type, impact_type, len(scale), int(further.max(initial=0)))
    per_further = LEVELLED if levels else terms_per_further_line(term_type, impact_type)
    needed = np.where(further > 0, -(-(further + 1) // per_further), 0)
    n_further = int(needed.sum())
    if n_further >= NO_LINE:
        raise VectorError(f"{int(lengths.sum())} impacts are too many for one index: build several of fewer documents")
    documents = documents_over(
        arrays.create("lines", (len(lengths), LINE_BYTES), np.uint8),
        arrays.create("impacts", (len(lengths), width), impact_type),
        arrays.create("further", (n_further, LINE_BYTES), np.uint8),
        arrays.create("further_impacts", (n_further if levels else 0, LEVELLED), np.uint16),
        scale,
        term_type,
    )
    return documents, np.where(further > 0, np.cumsum(needed) - needed, NO_LINE).astype(np.uint32)
