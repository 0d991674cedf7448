"""The arrays of an index, in memory or mapped, and the checks that make them safe for kernels.

A kernel never checks bounds: an offset outside its array is memory corruption. So the offset arrays are checked
whenever an index is opened. The far larger arrays of values are not checked: kernels cut off what they read there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays.folder import MANIFEST, WITH_BLOCK_MAXIMA, WITH_LEVELS, map_array
from index.arrays.memory_advice import advise_random
from index.arrays.new_arrays import aligned_zeros
from index.errors import IndexCorrupt
from index.kernels.block_bounds import BLOCKS, BlockMaxima
from index.kernels.candidate_arrays import CandidateLists
from index.kernels.exhaustive import WINDOW, Windows
from index.kernels.lines import LEVELLED, LINE_BYTES, Documents, documents_over, line_views, terms_per_line
from index.kernels.superblock_scores import SUPERBLOCK


@dataclass(frozen=True)
class Segment:
    """Everything that a search reads. Term numbers are the segment's own, by descending document frequency.

    beta              the share of the threshold that a document's sketch must reach

    terms             uint32[n_local]   collection term id of each of the segment's terms
    lookup_ids        uint32[n_local]   the same ids, ascending
    lookup_numbers    uint32[n_local]   the segment's number of each of `lookup_ids`
    frequencies       uint32[n_local]   documents that hold the term
    scale             float32[n_local]   impact of one sketch step of the term
    doc_lines         uint32[n_docs]    the number of each document's line
    line_docs         uint32[n_docs]    the document of each line
    lines             uint8[n_docs, 64] the documents' sketches, see kernels.lines
    impacts           uint16 (float16 bits)|float32[n_docs, width]  their canonical impacts, place by place
    further           uint8[n_further, 64]  the further lines: their other terms, with levels or canonical impacts
    further_impacts   uint16[n_further, 28]  the canonical impacts of further lines with levels; without, no rows
    list_block        int64[n_local + 1] into block_start
    block_start       uint32[n_blocks + 1]  into block_docs
    block_docs        uint32[n_postings]    documents of the candidate lists, by their lines, block by block
    window_entry      int64[n_windows + 1] into entry_*, see kernels.exhaustive; all 0 without unpruned postings
    entry_terms       uint16|uint32[n_entries]  the terms of a window, ascending
    entry_start       int64[n_entries + 1] into posting_docs
    posting_docs      uint16[nnz or 0]   every document of each term, ascending, counted from the window's first
    posting_impacts   uint16|float32[nnz or 0]
    list_summary      int64[n_local + 1] into summaries; a short list has none
    summaries         uint8[n_summary_lines, 64]  of the blocks, the same number of lines for each
    neighbours        uint32[n_docs, n_knn]  by lines: nearest documents of each, itself in unused places
    superblock_starts   uint16[n_frequent, n_superblocks]  see kernels.block_max; these two are empty, or the windows
                        hold lines instead of documents
    block_maxima        uint8[n_frequent, 8 * n_superblocks]
    """

    n_docs: int
    n_terms: int
    nnz: int
    max_impact: float
    beta: float
    terms: NDArray[np.uint32]
    lookup_ids: NDArray[np.uint32]
    lookup_numbers: NDArray[np.uint32]
    frequencies: NDArray[np.uint32]
    scale: NDArray[np.float32]
    doc_lines: NDArray[np.uint32]
    line_docs: NDArray[np.uint32]
    lines: NDArray[np.uint8]
    impacts: NDArray[Any]
    further: NDArray[np.uint8]
    further_impacts: NDArray[np.uint16]
    list_block: NDArray[np.int64]
    block_start: NDArray[np.uint32]
    block_docs: NDArray[np.uint32]
    window_entry: NDArray[np.int64]
    entry_terms: NDArray[Any]
    entry_start: NDArray[np.int64]
    posting_docs: NDArray[np.uint16]
    posting_impacts: NDArray[Any]
    list_summary: NDArray[np.int64]
    summaries: NDArray[np.uint8]
    neighbours: NDArray[np.uint32]
    superblock_starts: NDArray[np.uint16]
    block_maxima: NDArray[np.uint8]

    def resident(self) -> Segment:
        """Return the segment with the arrays that searches read at random copied to memory, in large pages.

        A mapped file has small pages, and finding the page of a random line costs about as much as the line.
        """
        copies: dict[str, Any] = {}
        for name in (*_READ_AT_RANDOM, NEIGHBOURS):
            mapped = getattr(self, name)
            # In an array that NumPy allocates, a line would lie across two cache lines.
            copies[name] = aligned_zeros(mapped.shape, mapped.dtype)
            copies[name][:] = mapped
            copies[name].setflags(write=False)
        return replace(self, **copies)

    def read_at_random(self) -> None:
        """Advise the kernel not to read ahead what searches read at random: for an index larger than memory."""
        advise_random(getattr(self, name) for name in (*_READ_AT_RANDOM, NEIGHBOURS, "impacts", "further_impacts"))

    def lines_of(self, docs: slice | NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the numbers of the documents' lines; a damaged number stays inside the lines."""
        lines: NDArray[np.uint32] = np.minimum(self.doc_lines[docs], np.uint32(max(0, self.n_docs - 1)))
        return lines

    @property
    def is_flat(self) -> bool:
        """Whether the impacts are so even, as BM25's are, that a sketch says too little about a document."""
        return self.beta < FLAT

    @property
    def has_blocks(self) -> bool:
        """Whether there are candidate lists; without them every search is exact."""
        return len(self.block_docs) > 0

    @property
    def has_exact_lists(self) -> bool:
        """Whether every posting is kept, for exact search."""
        return len(self.posting_docs) == self.nnz

    @property
    def has_levels(self) -> bool:
        """Whether further lines have levels, see kernels.lines."""
        return len(self.further_impacts) > 0

    @property
    def has_block_maxima(self) -> bool:
        """Whether exact search can skip documents; the windows are then in the order of lines."""
        return self.superblock_starts.size > 0

    @property
    def window_lines(self) -> NDArray[np.uint32]:
        """The document of each line if the windows are in the order of lines, else an empty array."""
        return self.line_docs if self.has_block_maxima else _NO_LINES

    @property
    def term_type(self) -> np.dtype[Any]:
        """The type of term numbers: uint16 or uint32."""
        return self.entry_terms.dtype

    @cached_property
    def documents(self) -> Documents:
        """The documents as kernels read them."""
        return documents_over(self.lines, self.impacts, self.further, self.further_impacts, self.scale, self.term_type)

    @cached_property
    def candidate_lists(self) -> CandidateLists:
        """The candidate lists as kernels read them."""
        summaries = line_views(self.summaries, self.term_type)
        return CandidateLists(
            self.list_block, self.list_summary, self.block_start, self.block_docs, summaries[0], summaries[1]
        )

    @cached_property
    def windows(self) -> Windows:
        """The unpruned postings as kernels read them."""
        return Windows(self.window_entry, self.entry_terms, self.entry_start, self.posting_docs, self.posting_impacts)

    @cached_property
    def maxima(self) -> BlockMaxima:
        """The block maxima as kernels read them."""
        return BlockMaxima(self.superblock_starts.reshape(-1), self.block_maxima.reshape(-1))

    @cached_property
    def most_blocks(self) -> int:
        """The largest number of blocks of a list."""
        return int(np.diff(self.list_block).max()) if len(self.terms) else 0

    @property
    def candidate_bytes(self) -> int:
        """Size of the arrays that candidate search reads all over, which should be in memory."""
        return sum(int(getattr(self, name).nbytes) for name in _READ_BY_CANDIDATE_SEARCH)

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        return sum(int(getattr(self, name).nbytes) for name in (*ARRAYS, NEIGHBOURS, *BLOCK_MAXIMA))


# Share of the mass in the sketches below which a collection counts as flat. Measured: SPLADE-like vectors .53;
# BM25 on 150,000 arXiv abstracts .21, where candidate search at its defaults found only .62 of the true top 10.
FLAT = 0.35

# The types that an array may have, and its length by the counts (None: the offsets define it).
ARRAYS: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "terms": (("uint32",), "n_local"),
    "lookup_ids": (("uint32",), "n_local"),
    "lookup_numbers": (("uint32",), "n_local"),
    "frequencies": (("uint32",), "n_local"),
    "scale": (("float32",), "n_local"),
    "doc_lines": (("uint32",), "n_docs"),
    "line_docs": (("uint32",), "n_docs"),
    "lines": (("uint8",), None),
    "impacts": (("uint16", "float32"), None),
    "further": (("uint8",), None),
    "further_impacts": (("uint16",), None),
    "list_block": (("int64",), "n_local + 1"),
    "block_start": (("uint32",), None),
    "block_docs": (("uint32",), None),
    "window_entry": (("int64",), "n_windows + 1"),
    "entry_terms": (("uint16", "uint32"), None),
    "entry_start": (("int64",), None),
    "posting_docs": (("uint16",), None),
    "posting_impacts": (("uint16", "float32"), None),
    "list_summary": (("int64",), "n_local + 1"),
    "summaries": (("uint8",), None),
}


NEIGHBOURS = "neighbours"
# Canonical impacts are read for the few documents that may be returned, so they stay mapped.
_READ_AT_RANDOM = ("line_docs", "lines", "further", "block_docs", "summaries")
_READ_BY_CANDIDATE_SEARCH = (
    *_READ_AT_RANDOM, "lookup_ids", "lookup_numbers", "frequencies", "scale", "list_block", "block_start",
    "list_summary",
)  # fmt: skip
_NO_NEIGHBOURS = np.zeros((0, 0), dtype=np.uint32)
_NO_NEIGHBOURS.setflags(write=False)
_NO_LEVELS = np.zeros((0, LEVELLED), dtype=np.uint16)
_NO_LEVELS.setflags(write=False)
_NO_LINES = np.zeros(0, dtype=np.uint32)
_NO_LINES.setflags(write=False)
# The type of each, and how many values it holds for a superblock.
BLOCK_MAXIMA: Mapping[str, tuple[type, int]] = {
    "superblock_starts": (np.uint16, 1),
    "block_maxima": (np.uint8, BLOCKS),
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
        nnz=int(counts["nnz"]),
        max_impact=float(counts["max_impact"]),
        beta=float(counts["beta"]),
        neighbours=_NO_NEIGHBOURS,
        **frozen,
        **{name: _frozen_maxima(arrays, name) for name in BLOCK_MAXIMA},
    )


def _frozen_maxima(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    held = arrays.get(name)
    array = np.zeros((0, 0), dtype=BLOCK_MAXIMA[name][0]) if held is None else np.ascontiguousarray(held)
    array.setflags(write=False)
    return array


def open_segment(folder: Path, manifest: Mapping[str, Any]) -> Segment:
    """Map the arrays of a folder; raises IndexCorrupt naming the file that is not what the manifest says."""
    try:
        counts = {name: int(manifest[name]) for name in ("n_docs", "n_terms", "n_local", "nnz")}
        max_impact, beta = float(manifest["max_impact"]), float(manifest["beta"])
    except (KeyError, TypeError, ValueError) as error:
        raise IndexCorrupt(folder / MANIFEST, f"a count is missing or not a number ({error})") from None
    lengths = counts | {"n_local + 1": counts["n_local"] + 1, "n_windows + 1": -(-counts["n_docs"] // WINDOW) + 1}
    arrays: dict[str, NDArray[Any]] = {}
    for name, (dtypes, length) in ARRAYS.items():
        if name == "further_impacts" and manifest["version"] < WITH_LEVELS:
            arrays[name] = _NO_LEVELS
            continue
        array = map_array(folder, manifest, name)
        path = folder / f"{name}.npy"
        dimensions = 2 if name in ("lines", "impacts", "further", "further_impacts", "summaries") else 1
        if array.dtype.name not in dtypes or array.ndim != dimensions:
            wanted = f"{' or '.join(dtypes)} in {dimensions}"
            raise IndexCorrupt(path, f"holds {array.dtype} in {array.ndim} dimensions, not {wanted}")
        if length is not None and len(array) != lengths[length]:
            raise IndexCorrupt(path, f"holds {len(array)} values, not {lengths[length]}")
        arrays[name] = array
    _check_documents(folder, arrays, counts["n_docs"])
    _check_offsets(folder / "list_block.npy", arrays["list_block"], len(arrays["block_start"]) - 1)
    _check_offsets(folder / "list_summary.npy", arrays["list_summary"], len(arrays["summaries"]))
    _check_below(folder / "lookup_numbers.npy", arrays["lookup_numbers"], counts["n_local"])
    _check_windows(folder, arrays, counts["nnz"])
    return Segment(
        n_docs=counts["n_docs"],
        n_terms=counts["n_terms"],
        nnz=counts["nnz"],
        max_impact=max_impact,
        beta=beta,
        neighbours=_map_neighbours(folder, manifest, counts["n_docs"]),
        **arrays,
        **_map_block_maxima(folder, manifest, arrays, counts),
    )


def _map_neighbours(folder: Path, manifest: Mapping[str, Any], n_docs: int) -> NDArray[np.uint32]:
    """Map the graph, if there is one. Its values need no check: kernels cut them off."""
    if f"{NEIGHBOURS}.npy" not in manifest["files"]:
        return _NO_NEIGHBOURS
    neighbours = map_array(folder, manifest, NEIGHBOURS)
    if neighbours.dtype != np.uint32 or neighbours.ndim != 2 or len(neighbours) != n_docs:
        raise IndexCorrupt(
            folder / f"{NEIGHBOURS}.npy", f"holds {neighbours.dtype} {neighbours.shape}, not a row per document"
        )
    return neighbours


def _map_block_maxima(
    folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], counts: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Map the block maxima, if the version says that they exist. Their values need no check: kernels cut them off."""
    listed = any(f"{name}.npy" in manifest["files"] for name in BLOCK_MAXIMA)
    if manifest["version"] < WITH_BLOCK_MAXIMA or (manifest["version"] >= WITH_LEVELS and not listed):
        return {name: _frozen_maxima({}, name) for name in BLOCK_MAXIMA}
    if len(arrays["posting_docs"]) != counts["nnz"] or not counts["nnz"]:
        raise IndexCorrupt(folder / MANIFEST, "an index with block maxima has no unpruned postings")
    n_superblocks = -(-counts["n_docs"] // SUPERBLOCK)
    found: dict[str, NDArray[Any]] = {}
    for name, (dtype, width) in BLOCK_MAXIMA.items():
        array = found[name] = map_array(folder, manifest, name)
        n_frequent = len(found["superblock_starts"])
        wanted = (n_frequent, width * n_superblocks)
        if array.dtype != dtype or array.shape != wanted or not 0 < n_frequent <= counts["n_local"]:
            raise IndexCorrupt(folder / f"{name}.npy", f"holds {array.dtype} {array.shape}, not {wanted}")
    return found


def _check_documents(folder: Path, arrays: Mapping[str, NDArray[Any]], n_docs: int) -> None:
    for name in ("further", "summaries"):
        if arrays[name].shape[1] != LINE_BYTES:
            raise IndexCorrupt(folder / f"{name}.npy", f"holds {arrays[name].shape}, not lines of 64 bytes")
    levels = arrays["further_impacts"]
    if levels.shape[1] != LEVELLED or len(levels) not in (0, len(arrays["further"])):
        raise IndexCorrupt(
            folder / "further_impacts.npy", f"holds {levels.shape}, not {(len(arrays['further']), LEVELLED)}"
        )
    if len(levels) and (arrays["entry_terms"].dtype != np.uint16 or arrays["impacts"].dtype != np.uint16):
        raise IndexCorrupt(folder / "further_impacts.npy", "belongs to 16-bit terms and impacts")
    width = terms_per_line(arrays["entry_terms"].dtype)
    for name, wanted in (("lines", (n_docs, LINE_BYTES)), ("impacts", (n_docs, width))):
        if arrays[name].shape != wanted:
            raise IndexCorrupt(folder / f"{name}.npy", f"holds {arrays[name].shape}, not {wanted}")


def _check_windows(folder: Path, arrays: Mapping[str, NDArray[Any]], nnz: int) -> None:
    docs, impacts = arrays["posting_docs"], arrays["posting_impacts"]
    if len(docs) not in (0, nnz):
        raise IndexCorrupt(folder / "posting_docs.npy", f"holds {len(docs)} values, not {nnz}")
    if len(impacts) != len(docs):
        raise IndexCorrupt(folder / "posting_impacts.npy", "is not as long as posting_docs.npy")
    if impacts.dtype != arrays["impacts"].dtype:
        raise IndexCorrupt(folder / "posting_impacts.npy", "holds impacts of another type than impacts.npy")
    if len(arrays["entry_terms"]) != len(arrays["entry_start"]) - 1:
        raise IndexCorrupt(folder / "entry_terms.npy", "does not have a term for each entry of entry_start.npy")
    _check_offsets(folder / "window_entry.npy", arrays["window_entry"], len(arrays["entry_terms"]))
    _check_offsets(folder / "entry_start.npy", arrays["entry_start"], len(docs))


def _check_offsets(path: Path, offsets: NDArray[Any], end: int) -> None:
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != end or (offsets[1:] < offsets[:-1]).any():
        raise IndexCorrupt(path, f"the offsets do not ascend from 0 to {end}")


def _check_below(path: Path, values: NDArray[Any], limit: int) -> None:
    if len(values) and values.max() >= limit:
        raise IndexCorrupt(path, f"holds {values.max()}, which is not below {limit}")
