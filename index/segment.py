"""The arrays of an index, in memory or mapped, and the checks that make them safe to hand to a kernel.

A kernel never checks bounds: an offset that points outside of its array is memory corruption. So the offset arrays
are checked whenever an index is opened, while the (far larger) arrays of values are only used in ways that stay inside
whatever they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexCorrupt
from index.kernels.lines import LINE_BYTES
from index.storage import MANIFEST, map_array


@dataclass(frozen=True)
class Segment:
    """Everything a search reads. Term numbers are the segment's own, by falling document frequency.

    beta is the share of the threshold that a document's first line must reach.

    terms             uint32[n_local]   collection term id of each of the segment's terms
    lookup_ids        uint32[n_local]   the same ids, rising
    lookup_numbers    uint32[n_local]   the segment's number of each of `lookup_ids`
    frequencies       uint32[n_local]   documents that hold the term
    forward_start     int64[n_docs + 1]
    forward_terms     uint16|uint32[nnz]           by rising *collection* term id within a document
    forward_impacts   uint16 (float16 bits)|float32[nnz]
    scale             float32[n_local]   impact of one sketch step of the term
    lines             uint8[n_lines, 64] see kernels.lines
    list_block        int64[n_local + 1] into block_start
    block_start       uint32[n_blocks + 1]  into block_docs
    block_docs        uint32[n_postings]    documents of the pruned lists, block by block
    posting_start     int64[n_local + 1] into posting_docs; all 0 without exact lists
    posting_docs      uint32[nnz or 0]      every document of each term, rising
    posting_impacts   uint16|float32[nnz or 0]
    list_summary      int64[n_local + 1] into summaries; a short list has none
    summaries         uint8[n_summary_lines, 64]  of the blocks, the same number of lines for each
    """

    n_docs: int
    n_terms: int
    max_impact: float
    beta: float
    terms: NDArray[np.uint32]
    lookup_ids: NDArray[np.uint32]
    lookup_numbers: NDArray[np.uint32]
    frequencies: NDArray[np.uint32]
    forward_start: NDArray[np.int64]
    forward_terms: NDArray[Any]
    forward_impacts: NDArray[Any]
    scale: NDArray[np.float32]
    lines: NDArray[np.uint8]
    list_block: NDArray[np.int64]
    block_start: NDArray[np.uint32]
    block_docs: NDArray[np.uint32]
    posting_start: NDArray[np.int64]
    posting_docs: NDArray[np.uint32]
    posting_impacts: NDArray[Any]
    list_summary: NDArray[np.int64]
    summaries: NDArray[np.uint8]

    @property
    def is_flat(self) -> bool:
        """Whether the impacts are so even, as BM25's are, that a few of them tell too little of a document."""
        return self.beta < FLAT

    @property
    def has_exact_lists(self) -> bool:
        """Whether every posting is kept, for exact search."""
        return len(self.posting_docs) == self.nnz

    @cached_property
    def line_views(self) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]]:
        """The documents' sketch lines as terms, as bytes and as uint32."""
        return line_views(self.lines, self.forward_terms.dtype)

    @cached_property
    def summary_views(self) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]]:
        """The blocks' summaries as terms, as bytes and as uint32."""
        return line_views(self.summaries, self.forward_terms.dtype)

    @cached_property
    def most_blocks(self) -> int:
        """Blocks of the list that has most."""
        return int(np.diff(self.list_block).max()) if len(self.terms) else 0

    @property
    def nnz(self) -> int:
        """Impacts stored."""
        return len(self.forward_terms)

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        return sum(int(getattr(self, name).nbytes) for name in ARRAYS)


# Share of the mass in the first lines below which a collection counts as flat. Measured: SPLADE-like vectors .53;
# BM25 on 150,000 arXiv abstracts .21, where candidate search at its defaults found but .62 of the true top 10.
FLAT = 0.35

# What an array may be made of, and its length in terms of the counts (None: the offsets say).
ARRAYS: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "terms": (("uint32",), "n_local"),
    "lookup_ids": (("uint32",), "n_local"),
    "lookup_numbers": (("uint32",), "n_local"),
    "frequencies": (("uint32",), "n_local"),
    "forward_start": (("int64",), "n_docs + 1"),
    "forward_terms": (("uint16", "uint32"), "nnz"),
    "forward_impacts": (("uint16", "float32"), "nnz"),
    "scale": (("float32",), "n_local"),
    "lines": (("uint8",), None),
    "list_block": (("int64",), "n_local + 1"),
    "block_start": (("uint32",), None),
    "block_docs": (("uint32",), None),
    "posting_start": (("int64",), "n_local + 1"),
    "posting_docs": (("uint32",), None),
    "posting_impacts": (("uint16", "float32"), None),
    "list_summary": (("int64",), "n_local + 1"),
    "summaries": (("uint8",), None),
}


def freeze(counts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Segment:
    """Return a segment over arrays in memory, made read-only as mapped ones are."""
    frozen = {}
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        array.setflags(write=False)
        frozen[name] = array
    return Segment(
        n_docs=int(counts["n_docs"]),
        n_terms=int(counts["n_terms"]),
        max_impact=float(counts["max_impact"]),
        beta=float(counts["beta"]),
        **frozen,
    )


def open_segment(folder: Path, manifest: Mapping[str, Any]) -> Segment:
    """Map the arrays of a folder; raises IndexCorrupt naming the file that is not what the manifest says."""
    try:
        counts = {name: int(manifest[name]) for name in ("n_docs", "n_terms", "n_local", "nnz")}
        max_impact, beta = float(manifest["max_impact"]), float(manifest["beta"])
    except (KeyError, TypeError, ValueError) as error:
        raise IndexCorrupt(folder / MANIFEST, f"a count is missing or no number ({error})") from None
    counts |= {"n_docs + 1": counts["n_docs"] + 1, "n_local + 1": counts["n_local"] + 1}
    arrays = {}
    for name, (dtypes, length) in ARRAYS.items():
        array = map_array(folder, manifest, name)
        path = folder / f"{name}.npy"
        dimensions = 2 if name in ("lines", "summaries") else 1
        if array.dtype.name not in dtypes or array.ndim != dimensions:
            wanted = f"{' or '.join(dtypes)} in {dimensions}"
            raise IndexCorrupt(path, f"holds {array.dtype} in {array.ndim} dimensions, not {wanted}")
        if length is not None and len(array) != counts[length]:
            raise IndexCorrupt(path, f"holds {len(array)} values, not {counts[length]}")
        arrays[name] = array
    _check_offsets(folder / "forward_start.npy", arrays["forward_start"], counts["nnz"])
    _check_offsets(folder / "list_block.npy", arrays["list_block"], len(arrays["block_start"]) - 1)
    _check_offsets(folder / "list_summary.npy", arrays["list_summary"], len(arrays["summaries"]))
    _check_offsets(folder / "posting_start.npy", arrays["posting_start"], len(arrays["posting_docs"]))
    if len(arrays["posting_impacts"]) != len(arrays["posting_docs"]):
        raise IndexCorrupt(folder / "posting_impacts.npy", "is not as long as posting_docs.npy")
    if arrays["posting_impacts"].dtype != arrays["forward_impacts"].dtype:
        raise IndexCorrupt(folder / "posting_impacts.npy", "holds impacts of another type than forward_impacts.npy")
    if arrays["summaries"].shape[1] != LINE_BYTES:
        raise IndexCorrupt(folder / "summaries.npy", f"holds {arrays['summaries'].shape}, not lines of 64 bytes")
    if arrays["lines"].shape[1] != LINE_BYTES or len(arrays["lines"]) < counts["n_docs"]:
        raise IndexCorrupt(folder / "lines.npy", f"holds {arrays['lines'].shape}, not a line of 64 bytes a document")
    _check_below(folder / "lookup_numbers.npy", arrays["lookup_numbers"], counts["n_local"])
    return Segment(n_docs=counts["n_docs"], n_terms=counts["n_terms"], max_impact=max_impact, beta=beta, **arrays)


def terms_per_line(dtype: np.dtype[Any]) -> int:
    """Return how many terms a line holds: 20 of uint16, 12 of uint32."""
    return 60 // (dtype.itemsize + 1)


def line_views(
    lines: NDArray[np.uint8], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]]:
    """Return the lines as terms of `dtype`, as bytes, and as uint32: what the kernels take."""
    return lines.view(dtype), lines, lines.view(np.uint32)


def _check_offsets(path: Path, offsets: NDArray[Any], end: int) -> None:
    if offsets[0] != 0 or offsets[-1] != end or (offsets[1:] < offsets[:-1]).any():
        raise IndexCorrupt(path, f"the offsets do not rise from 0 to {end}")


def _check_below(path: Path, values: NDArray[Any], limit: int) -> None:
    if len(values) and values.max() >= limit:
        raise IndexCorrupt(path, f"holds {values.max()}, which is not below {limit}")
