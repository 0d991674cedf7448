"""Building the candidate lists: cut to the largest impacts, clustered into blocks, summarised.

Lists are independent of each other, so a pool of threads builds them in groups (the kernels release the GIL). The
groups are written in order: the bytes do not depend on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays.new_arrays import NewArrays
from index.building.packing import Packed, in_order
from index.config import IndexConfig
from index.kernels.blocks import BlockShape, BuildScratch, NewBlocks, build_lists
from index.kernels.lines import LINE_BYTES, line_views
from index.kernels.postings import collect_largest, keep_largest

# Postings in one group of lists: enough work for a thread, and few enough for many groups.
_GROUP = 200_000
_CHUNK = 1 << 16


class Lists(NamedTuple):
    """Each term's documents of largest impact: docs[start[term]:start[term + 1]], by ascending line.

    start   int64[n_terms + 1]     docs  uint32[], numbers of lines
    seeds   uint32[n_terms], the terms' collection ids: what the lists' random numbers depend on
    """

    start: NDArray[np.int64]
    docs: NDArray[np.uint32]
    seeds: NDArray[np.uint32]


def largest_lists(
    packed: Packed,
    frequencies: NDArray[np.int64],
    collection_terms: NDArray[np.uint32],
    n_keep: int,
    progress: Callable[[int], None],
) -> Lists:
    """Return the lists of each term's `n_keep` documents of largest impact."""
    if n_keep == 0:
        start = np.zeros(len(frequencies) + 1, dtype=np.int64)
        return Lists(start, np.zeros(0, dtype=np.uint32), collection_terms)
    n_docs = len(packed.doc_lines)
    room = _offsets(np.where(frequencies > n_keep, 2 * n_keep, frequencies))
    docs, keys = np.empty(int(room[-1]), dtype=np.uint32), np.empty(int(room[-1]), dtype=np.uint16)
    filled, floors = np.zeros(len(frequencies), dtype=np.int64), np.full(len(frequencies), -1, dtype=np.int64)
    for first in range(0, n_docs, _CHUNK):
        last = min(n_docs, first + _CHUNK)
        collect_largest(first, last, packed.documents, n_keep, room, filled, floors, docs, keys)
        progress(last)
    start = _offsets(np.minimum(frequencies, n_keep))
    kept = np.empty(int(start[-1]), dtype=np.uint32)
    for term in range(len(frequencies)):
        at = slice(int(room[term]), int(room[term] + filled[term]))
        if filled[term] > n_keep:
            keep_largest(docs[at], keys[at], n_keep)
        kept[start[term] : start[term + 1]] = docs[at][: start[term + 1] - start[term]]
    return Lists(start, kept, collection_terms)


def build_blocks(
    lists: Lists,
    scale: NDArray[np.float32],
    packed: Packed,
    config: IndexConfig,
    arrays: NewArrays,
    threads: int,
    progress: Callable[[int], None],
) -> None:
    """Create and fill `list_block`, `list_summary`, `block_start`, `block_docs` and `summaries`.

    scale   float32[n_terms], the impact of one step of each term
    """
    builder = _GroupBuilder(lists, scale, packed, config)
    n_terms = len(lists.seeds)
    block_docs = arrays.create("block_docs", (len(lists.docs),), np.uint32)
    summaries = arrays.create("summaries", (builder.most_lines(0, n_terms), LINE_BYTES), np.uint8)
    sizes: list[NDArray[Any]] = [np.zeros(0, dtype=np.uint32)]
    list_blocks: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    n_lines = written = 0
    for part in in_order(builder.build, _groups(lists.start), threads):
        block_docs[written : written + len(part.block_docs)] = part.block_docs
        summaries[n_lines : n_lines + len(part.summaries)] = part.summaries
        written += len(part.block_docs)
        n_lines += len(part.summaries)
        sizes.append(part.block_sizes)
        list_blocks.append(part.list_blocks)
        progress(part.stop)
    arrays.shorten("summaries", n_lines)
    blocks = np.concatenate(list_blocks)
    summarised = np.where(np.diff(lists.start) > config.short_list, blocks, 0)
    for name, offsets in (
        ("list_block", _offsets(blocks)),
        ("list_summary", _offsets(summarised * config.summary_lines)),
        ("block_start", _offsets(np.concatenate(sizes)).astype(np.uint32)),
    ):
        arrays.create(name, offsets.shape, offsets.dtype)[:] = offsets


class _GroupBuilder:
    """Builds the blocks of groups of lists. Safe to call from many threads."""

    def __init__(self, lists: Lists, scale: NDArray[np.float32], packed: Packed, config: IndexConfig) -> None:
        self._lists, self._packed = lists, packed
        n_terms = len(lists.seeds)
        self._room = 1 << (16 if packed.term_type == np.uint16 else n_terms.bit_length())
        self._scale = np.zeros(self._room, dtype=np.float32)
        self._scale[:n_terms] = scale
        self._shape = BlockShape(
            config.centroid_fraction, config.min_cluster_size, config.short_list, config.doc_cut, config.summary_lines
        )
        self._free: deque[BuildScratch] = deque()

    def most_lines(self, first: int, stop: int) -> int:
        """Return how many summary lines the lists first .. stop have at most."""
        sizes = np.diff(self._lists.start[first : stop + 1])
        blocks = np.ceil(sizes[sizes > self._shape.short_list] * self._shape.centroid_fraction).astype(np.int64)
        return int(blocks.sum()) * self._shape.summary_lines

    def build(self, group: tuple[int, int]) -> _Blocks:
        """Return the blocks of the lists first .. stop."""
        first, stop = group
        start, docs, seeds = self._lists
        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = BuildScratch(
                heads=np.full(self._room, -1, dtype=np.int32),
                maxima=np.zeros(self._room, dtype=np.uint8),
                touched=np.empty(self._room + 1, dtype=np.int64),
            )
        local = np.ascontiguousarray(start[first : stop + 1] - start[first])
        summaries = np.zeros((self.most_lines(first, stop), LINE_BYTES), dtype=np.uint8)
        summary_terms, summary_bytes, _ = line_views(summaries, self._packed.term_type)
        out = NewBlocks(
            docs=np.empty(int(local[-1]), dtype=np.uint32),
            sizes=np.empty(int(local[-1]), dtype=np.uint32),
            summary_terms=summary_terms,
            summary_bytes=summary_bytes,
            list_blocks=np.empty(stop - first, dtype=np.int64),
        )
        own_docs, own_seeds = docs[start[first] : start[stop]], seeds[first:stop].astype(np.int64)
        n_lines = build_lists(
            local, own_docs, own_seeds, self._shape, self._packed.documents, self._scale, scratch, out
        )
        self._free.append(scratch)
        sizes = out.sizes[: int(out.list_blocks.sum())]
        return _Blocks(stop, out.list_blocks, sizes, out.docs, summaries[:n_lines])


class _Blocks(NamedTuple):
    """The blocks of one group of lists, up to list `stop`."""

    stop: int
    list_blocks: NDArray[np.int64]
    block_sizes: NDArray[Any]
    block_docs: NDArray[np.uint32]
    summaries: NDArray[np.uint8]


def _groups(start: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of groups of lists with about _GROUP postings each, whatever the number of threads."""
    first, n_terms = 0, len(start) - 1
    while first < n_terms:
        stop = int(np.searchsorted(start, start[first] + _GROUP, side="right")) - 1
        stop = min(n_terms, max(first + 1, stop))
        yield first, stop
        first = stop


def _offsets(sizes: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets
