"""`DenseRows`: a dense vector for each document, kept as int8 with one scale, read only for requested documents.

A row's int8 times its scale is the canonical dense vector. The score of a document is

    float32(scale * sum over i of query[i] * int8[i])

with the products exact in float64 and added in the fixed order of `kernels.dense`, so that it depends neither on the
processor nor on the other documents scored with it. A scale of 0 means that the document has no dense vector: its score
is 0.

On disk it is a folder of two plain arrays, dense.npy int8[n, dims] and scale.npy float32[n], with a manifest
like that of an index. Rows are copied unchanged from one such folder to the next, so no score changes when segments are
merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.arrays.folder import (
    DENSE_ROWS,
    MANIFEST,
    Problem,
    map_array,
    new_folder,
    read_manifest,
    verify_index,
    write_manifest,
)
from index.arrays.new_arrays import append_rows
from index.errors import IndexCorrupt, SearchParameterError, VectorError
from index.kernels.dense import score_dense_rows

MAX_DIMENSIONS = 65_536

_STEPS = 127  # the largest int8 in use: -128 has no counterpart

Quantised = tuple[NDArray[np.int8], NDArray[np.float32]]


class DenseRows:
    """Rows of int8 with a scale each. Never changes; safe to use from many threads."""

    def __init__(self, values: NDArray[np.int8], scale: NDArray[np.float32], path: Path | None = None) -> None:
        """Keep checked arrays: values int8[n, dims], scale float32[n], finite and not negative."""
        self._values = _fixed(np.ascontiguousarray(values))
        self._scale = _fixed(np.ascontiguousarray(scale))
        self._path = path

    @classmethod
    def build(
        cls, blocks: Iterable[NDArray[np.float32] | Quantised], dims: int, path: Path | str | None = None
    ) -> DenseRows:
        """Return the rows of all blocks, one block after the other.

        blocks  float32[m, dims], quantised here; or (int8[m, dims], float32[m]), which are kept as they are
        path    the folder to write to, which must not exist yet; None: the rows are kept in memory

        Raises VectorError for another shape or dtype, NaN or infinity; FileExistsError, OSError.
        """
        if not 0 < dims <= MAX_DIMENSIONS:
            raise VectorError(f"a dense vector has 1 to {MAX_DIMENSIONS} dimensions, not {dims}")
        pairs = (_checked(block, dims) for block in blocks)
        if path is None:
            held = list(pairs)
            values = np.concatenate([np.empty((0, dims), np.int8), *(pair[0] for pair in held)])
            return cls(values, np.concatenate([np.empty(0, np.float32), *(pair[1] for pair in held)]))
        with new_folder(Path(path)) as folder:
            n_docs = 0
            with (
                append_rows(folder, "dense", (dims,), np.int8) as add_values,
                append_rows(folder, "scale", (), np.float32) as add_scale,
            ):
                for values, scale in pairs:
                    add_values(values)
                    add_scale(scale)
                    n_docs += len(scale)
            write_manifest(folder, {"n_docs": n_docs, "dims": dims}, DENSE_ROWS)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str, verify: Literal["metadata", "full"] = "metadata") -> DenseRows:
        """Map the folder at `path`. "metadata" checks sizes, headers and scales; "full" also compares the checksums.

        Raises IndexCorrupt, IndexFormatUnsupported, SearchParameterError for another `verify`.
        """
        if verify not in ("metadata", "full"):
            raise SearchParameterError(f'verify must be "metadata" or "full", not {verify!r}')
        folder = Path(path)
        if verify == "full" and (problems := verify_index(folder, kind=DENSE_ROWS)):
            raise IndexCorrupt(*problems[0])
        manifest = read_manifest(folder, DENSE_ROWS)
        try:
            n_docs, dims = int(manifest["n_docs"]), int(manifest["dims"])
        except (KeyError, TypeError, ValueError) as error:
            raise IndexCorrupt(folder / MANIFEST, f"a count is missing or not a number ({error})") from None
        values = map_array(folder, manifest, "dense")
        scale = map_array(folder, manifest, "scale")
        for name, array, shape, kind in (
            ("dense", values, (n_docs, dims), np.int8),
            ("scale", scale, (n_docs,), np.float32),
        ):
            if array.dtype != kind or array.shape != shape:
                raise IndexCorrupt(
                    folder / f"{name}.npy", f"holds {array.dtype} {array.shape}, not {np.dtype(kind)} {shape}"
                )
        if not (np.isfinite(scale) & (scale >= 0)).all():
            raise IndexCorrupt(folder / "scale.npy", "holds a scale that is negative or not finite")
        return cls(values, scale, folder)

    @classmethod
    def join(cls, parts: Sequence[tuple[DenseRows, NDArray[np.bool_]]]) -> DenseRows:
        """Return the rows of all parts, at least one, that are marked in bool[part.n_docs], one after the other."""
        return cls(
            np.concatenate([part._values[marked] for part, marked in parts]),
            np.concatenate([part._scale[marked] for part, marked in parts]),
        )

    @property
    def n_docs(self) -> int:
        """Documents, those without a dense vector included."""
        return len(self._scale)

    @property
    def dims(self) -> int:
        """Numbers in a vector."""
        return int(self._values.shape[1])

    @property
    def bytes(self) -> int:
        """Bytes of all rows and scales: dims + 4 for each document."""
        return self._values.nbytes + self._scale.nbytes

    def rows(self, start: int, stop: int) -> Quantised:
        """Return documents start .. stop as they are stored: int8[m, dims], float32[m], read-only."""
        return self._values[start:stop], self._scale[start:stop]

    def row(self, doc_id: int) -> tuple[NDArray[np.int8], np.float32]:
        """Return a document's int8[dims] and its scale, 0 where it has no dense vector; raises VectorError."""
        at = int(self._checked_ids([doc_id])[0])
        return self._values[at], self._scale[at]

    def values(self, doc_id: int) -> NDArray[np.float32]:
        """Return a document's canonical vector, float32[dims], zeros where it has none; raises VectorError."""
        steps, scale = self.row(doc_id)
        canonical: NDArray[np.float32] = steps.astype(np.float32) * scale
        return canonical

    def present(self, doc_ids: ArrayLike) -> NDArray[np.bool_]:
        """Return which of the documents have a dense vector, bool[m]; raises VectorError for an unknown doc_id."""
        found: NDArray[np.bool_] = self._scale[self._checked_ids(doc_ids)] > 0
        return found

    def score(self, doc_ids: ArrayLike, query: ArrayLike) -> NDArray[np.float32]:
        """Return the documents' canonical scores, float32[m]; 0 for one without a dense vector.

        doc_ids  int[m], in any order, repeated or not; those of near documents next to each other read fastest
        query    float32[dims], finite

        The kernel releases the GIL. Raises VectorError for an unknown doc_id or a query of another shape.
        """
        rows = self._checked_ids(doc_ids)
        weights = np.asarray(query, dtype=np.float32)
        if weights.shape != (self.dims,) or not np.isfinite(weights).all():
            raise VectorError(f"a query is {self.dims} finite numbers, not {weights.shape}")
        scores = np.empty(len(rows), dtype=np.float32)
        score_dense_rows(rows, self._values, self._scale, weights.astype(np.float64), scores)
        return scores

    def verify(self) -> list[Problem]:
        """Read every byte and return the damaged files; none if the rows are in memory."""
        return [] if self._path is None else verify_index(self._path, kind=DENSE_ROWS)

    def _checked_ids(self, doc_ids: ArrayLike) -> NDArray[np.int64]:
        ids = np.ascontiguousarray(doc_ids, dtype=np.int64)
        if ids.ndim != 1 or (len(ids) and (ids.min() < 0 or ids.max() >= self.n_docs)):
            raise VectorError(f"a doc_id is not one of the {self.n_docs} documents")
        return ids


def quantise(vectors: NDArray[np.float32]) -> Quantised:
    """Return vectors float32[m, dims] as (int8[m, dims], scale float32[m]), vector = int8 * scale.

    scale is max|x| / 127, and each number is rounded to the nearest step, half to even; a row of zeros has the scale 0.
    Raises VectorError for NaN or infinity.
    """
    if not np.isfinite(vectors).all():
        raise VectorError("a dense vector holds NaN or infinity")
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scale = (largest / np.float32(_STEPS)).astype(np.float32)
    divisor = np.where(scale > 0, scale, 1).astype(np.float64)
    steps = np.rint(np.where(scale[:, None] > 0, vectors, 0) / divisor[:, None])
    return np.clip(steps, -_STEPS, _STEPS).astype(np.int8), scale


def verify_dense(path: Path | str, on_read: Callable[[int], None] | None = None) -> list[Problem]:
    """Read every byte of the dense rows at `path` and return the damaged files; see `verify_index`."""
    return verify_index(path, on_read, DENSE_ROWS)


def _checked(block: NDArray[np.float32] | Quantised, dims: int) -> Quantised:
    if not isinstance(block, tuple):
        if block.ndim != 2 or block.shape[1] != dims or block.dtype != np.float32:
            raise VectorError(f"a block is float32 [m, {dims}], not {block.dtype} {block.shape}")
        return quantise(block)
    values, scale = block
    if values.dtype != np.int8 or scale.dtype != np.float32 or values.shape != (len(scale), dims) or scale.ndim != 1:
        raise VectorError(
            f"a block is int8 [m, {dims}] and float32 [m], not {values.dtype} {values.shape}, "
            f"{scale.dtype} {scale.shape}"
        )
    if not (np.isfinite(scale) & (scale >= 0)).all():
        raise VectorError("a scale is negative or not finite")
    return values, scale


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as read-only, as a mapped file is: kernels are compiled for one type then, not for two."""
    view = array.view()
    view.setflags(write=False)
    return view
