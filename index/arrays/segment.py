"""The arrays of an index, in memory or mapped (see `arrays.opening`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.arrays.new_arrays import aligned_zeros
from index.kernels.block_max import BLOCKS, BlockMaxima
from index.kernels.candidate_arrays import CandidateLists
from index.kernels.exhaustive import Windows
from index.kernels.further import coarse_error
from index.kernels.lines import Documents, documents_over, line_views


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
    further           uint16[n_places]  their other terms with coarse impacts, see kernels.further
    remainders        uint8|uint32[n_places]  what makes these impacts canonical
    impact_code       int64[2]  how these impacts are divided
                      an index of version 3 has lines instead, uint8[n_lines, 64]: see kernels.further_lines
    list_block        int64[n_local + 1] into block_start
    block_start       uint32[n_blocks + 1]  into block_docs
    block_docs        uint8[n_postings, 3|4]  documents of the candidate lists, by their lines, block by block; of
                      version 3: uint32[n_postings]
    window_entry      int64[n_windows + 1] into entry_*, see kernels.exhaustive; all 0 without unpruned postings
    entry_terms       uint16|uint32[n_entries]  the terms of a window, ascending
    entry_start       int64[n_entries + 1] into posting_docs
    posting_docs      uint16[nnz or 0]   every document of each term, ascending, counted from the window's first
    posting_impacts   uint16|float32[nnz or 0]
    list_summary      int64[n_local + 1] into summaries; a short list has none
    summaries         uint8[n_summary_lines, 64]  of the blocks, the same number of lines for each
    neighbours        uint32[n_docs, n_knn]  by lines: nearest documents of each, itself in unused places
    superblock_starts   uint16[n_frequent, n_superblocks]  see kernels.block_max; these three are empty, or the windows
                        hold lines instead of documents
    superblock_maxima   uint8[n_frequent, n_superblocks]
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
    further: NDArray[Any]
    remainders: NDArray[Any]
    impact_code: NDArray[np.int64]
    list_block: NDArray[np.int64]
    block_start: NDArray[np.uint32]
    block_docs: NDArray[Any]
    window_entry: NDArray[np.int64]
    entry_terms: NDArray[Any]
    entry_start: NDArray[np.int64]
    posting_docs: NDArray[np.uint16]
    posting_impacts: NDArray[Any]
    list_summary: NDArray[np.int64]
    summaries: NDArray[np.uint8]
    neighbours: NDArray[np.uint32]
    superblock_starts: NDArray[np.uint16]
    superblock_maxima: NDArray[np.uint8]
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
    def has_block_maxima(self) -> bool:
        """Whether exact search can skip documents; the windows are then in the order of lines."""
        return self.superblock_maxima.size > 0

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
        if self.further.ndim == 2:
            old = self.further.view(self.term_type), self.further.view(self.impacts.dtype)
            return documents_over(self.lines, self.impacts, *old, self.impact_code, self.scale, self.term_type)
        return documents_over(
            self.lines, self.impacts, self.further, self.remainders, self.impact_code, self.scale, self.term_type
        )

    @cached_property
    def coarse_error(self) -> float:
        """The largest share of a coarse impact by which the canonical one may differ from it."""
        return 0.0 if self.further.ndim == 2 else coarse_error(self.impact_code, self.impacts.dtype)

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
        return BlockMaxima(
            self.superblock_starts.reshape(-1), self.superblock_maxima.reshape(-1), self.block_maxima.reshape(-1)
        )

    @cached_property
    def most_blocks(self) -> int:
        """The largest number of blocks of a list."""
        return int(np.diff(self.list_block).max()) if len(self.terms) else 0

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        return sum(int(getattr(self, name).nbytes) for name in (*ARRAYS, NEIGHBOURS, *BLOCK_MAXIMA))

    @property
    def candidate_bytes(self) -> int:
        """Size of the arrays that candidate search reads at random: what should be in memory.

        The other arrays are read for the last candidates of a query alone, or for an exact search.
        """
        return sum(int(getattr(self, name).nbytes) for name in (*_READ_BY_CANDIDATES, NEIGHBOURS))


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
    "further": (("uint16",), None),
    "remainders": (("uint8", "uint32"), None),
    "impact_code": (("int64",), None),
    "list_block": (("int64",), "n_local + 1"),
    "block_start": (("uint32",), None),
    "block_docs": (("uint8",), None),
    "window_entry": (("int64",), "n_windows + 1"),
    "entry_terms": (("uint16", "uint32"), None),
    "entry_start": (("int64",), None),
    "posting_docs": (("uint16",), None),
    "posting_impacts": (("uint16", "float32"), None),
    "list_summary": (("int64",), "n_local + 1"),
    "summaries": (("uint8",), None),
}


NEIGHBOURS = "neighbours"
_READ_AT_RANDOM = ("line_docs", "lines", "further", "block_docs", "summaries")
_READ_BY_CANDIDATES = (*_READ_AT_RANDOM, "block_start", "list_block", "list_summary", "scale")
NO_NEIGHBOURS = np.zeros((0, 0), dtype=np.uint32)
NO_NEIGHBOURS.setflags(write=False)
_NO_LINES = np.zeros(0, dtype=np.uint32)
_NO_LINES.setflags(write=False)
# The type of each, and how many values it holds for a superblock.
BLOCK_MAXIMA: Mapping[str, tuple[type, int]] = {
    "superblock_starts": (np.uint16, 1),
    "superblock_maxima": (np.uint8, 1),
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
        neighbours=NO_NEIGHBOURS,
        **frozen,
        **{name: frozen_maxima(arrays, name) for name in BLOCK_MAXIMA},
    )


def frozen_maxima(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return an array of block maxima, read-only; an empty one without them."""
    held = arrays.get(name)
    array = np.zeros((0, 0), dtype=BLOCK_MAXIMA[name][0]) if held is None else np.ascontiguousarray(held)
    array.setflags(write=False)
    return array
