"""Building the lists of candidate search: cut to the largest impacts, clustered into blocks, summarised.

Lists are independent of each other, so they are built in groups by a pool of threads (the kernels release the GIL)
and put together in order: the bytes do not depend on the number of threads.
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

# Postings in one group of lists: enough work for a thread, little enough that groups are many.
_GROUP = 200_000
_CHUNK = 1 << 16


def largest_lists(
    packed: Packed, frequencies: NDArray[np.int64], n_keep: int, progress: Callable[[int], None]
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return each term's `n_keep` documents of largest impact: (starts int64[n_terms + 1], lines, rising)."""
    if n_keep == 0:
        return np.zeros(len(frequencies) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint32)
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
    return start, kept


def build_blocks(
    start: NDArray[np.int64],
    docs: NDArray[np.uint32],
    collection_terms: NDArray[np.uint32],
    scale: NDArray[np.float32],
    packed: Packed,
    config: IndexConfig,
    arrays: NewArrays,
    threads: int,
    progress: Callable[[int], None],
) -> None:
    """Create and fill `list_block`, `list_summary`, `block_start`, `block_docs` and `summaries`.

    start, docs        the lists, as `largest_lists` gives them
    collection_terms   uint32[n_terms], what seeds a list's chance     scale  float32[n_terms]
    """
    n_terms = len(start) - 1
    room = 1 << (16 if packed.term_type == np.uint16 else n_terms.bit_length())
    scales = np.zeros(room, dtype=np.float32)
    scales[:n_terms] = scale
    shape = BlockShape(
        config.centroid_fraction, config.min_cluster_size, config.short_list, config.doc_cut, config.summary_lines
    )
    free: deque[BuildScratch] = deque()

    def most_lines(first: int, stop: int) -> int:
        sizes = np.diff(start[first : stop + 1])
        blocks = np.ceil(sizes[sizes > config.short_list] * config.centroid_fraction).astype(np.int64)
        return int(blocks.sum()) * config.summary_lines

    def work(group: tuple[int, int]) -> _Blocks:
        first, stop = group
        try:
            scratch = free.pop()
        except IndexError:
            scratch = BuildScratch(
                heads=np.full(room, -1, dtype=np.int32),
                maxima=np.zeros(room, dtype=np.uint8),
                touched=np.empty(room + 1, dtype=np.int64),
            )
        local = np.ascontiguousarray(start[first : stop + 1] - start[first])
        summaries = np.zeros((most_lines(first, stop), LINE_BYTES), dtype=np.uint8)
        summary_terms, summary_bytes, _ = line_views(summaries, packed.term_type)
        out = NewBlocks(
            docs=np.empty(int(local[-1]), dtype=np.uint32),
            sizes=np.empty(int(local[-1]), dtype=np.uint32),
            summary_terms=summary_terms,
            summary_bytes=summary_bytes,
            list_blocks=np.empty(stop - first, dtype=np.int64),
        )
        seeds = collection_terms[first:stop].astype(np.int64)
        n_lines = build_lists(
            local, docs[start[first] : start[stop]], seeds, shape, packed.documents, scales, scratch, out
        )
        free.append(scratch)
        sizes = out.sizes[: int(out.list_blocks.sum())]
        return _Blocks(stop, out.list_blocks, sizes, out.docs, summaries[:n_lines])

    block_docs = arrays.create("block_docs", (len(docs),), np.uint32)
    summaries = arrays.create("summaries", (most_lines(0, n_terms), LINE_BYTES), np.uint8)
    sizes: list[NDArray[Any]] = [np.zeros(0, dtype=np.uint32)]
    list_blocks: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    n_lines = written = 0
    for part in in_order(work, _groups(start), threads):
        block_docs[written : written + len(part.block_docs)] = part.block_docs
        summaries[n_lines : n_lines + len(part.summaries)] = part.summaries
        written += len(part.block_docs)
        n_lines += len(part.summaries)
        sizes.append(part.block_sizes)
        list_blocks.append(part.list_blocks)
        progress(part.stop)
    arrays.shorten("summaries", n_lines)
    blocks = np.concatenate(list_blocks)
    summarised = np.where(np.diff(start) > config.short_list, blocks, 0)
    for name, offsets in (
        ("list_block", _offsets(blocks)),
        ("list_summary", _offsets(summarised * config.summary_lines)),
        ("block_start", _offsets(np.concatenate(sizes)).astype(np.uint32)),
    ):
        arrays.create(name, offsets.shape, offsets.dtype)[:] = offsets


class _Blocks(NamedTuple):
    """What becomes of one group of lists, up to list `stop`."""

    stop: int
    list_blocks: NDArray[np.int64]
    block_sizes: NDArray[Any]
    block_docs: NDArray[np.uint32]
    summaries: NDArray[np.uint8]


def _groups(start: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of groups of lists with some _GROUP postings each, whatever the number of threads."""
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
