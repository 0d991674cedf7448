"""Building the inverted part: pruned postings, blocks, summaries and sketch lines, from the forward arrays.

Lists are independent of each other, so they are built in groups by a pool of threads (the kernels release the GIL)
and put together in order: the bytes do not depend on the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.config import IndexConfig
from index.kernels.blocks import build_lists, largest_postings
from index.kernels.lines import LINE_BYTES, pack_lines
from index.segment import FLAT, line_views, terms_per_line

# Postings in one group of lists: enough work for a thread, little enough that groups are many.
_GROUP = 200_000
_CHUNK = 1 << 16
# Full postings lists are kept up to this many impacts (6 bytes each) and for flat collections, which are searched by
# them, unless the configuration says otherwise.
_EXACT_LISTS = 1 << 25


def build_inverted(
    counts: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    config: IndexConfig,
    threads: int,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of candidate search (see `Segment`) for the forward arrays."""
    scale = term_scales(arrays["forward_terms"], arrays["forward_impacts"], counts["n_local"])
    lines = pack_all_lines(arrays, scale, progress)
    start, docs, impacts = invert(arrays, counts["n_local"])
    counts["beta"] = first_line_share(arrays, lines, scale)
    exact = config.exact_lists
    if exact is None:
        exact = len(docs) <= _EXACT_LISTS or counts["beta"] < FLAT
    postings: dict[str, NDArray[Any]] = {
        "posting_start": start if exact else np.zeros_like(start),
        "posting_docs": docs if exact else docs[:0],
        "posting_impacts": impacts if exact else impacts[:0],
    }
    start, docs = prune(start, docs, impacts, config)
    return {
        "scale": scale,
        "lines": lines,
        **postings,
        **_lists(start, docs, arrays["terms"], scale, lines, config, threads, progress),
    }


def term_scales(terms: NDArray[Any], impacts: NDArray[Any], n_terms: int) -> NDArray[np.float32]:
    """Return the impact of one sketch step of each term, float32[n_terms]: a 255th of the term's largest impact."""
    keys = _sortable(impacts)
    largest = np.zeros(n_terms, dtype=keys.dtype)
    np.maximum.at(largest, terms, keys)
    values = largest.view(np.float16).astype(np.float32) if keys.dtype == np.uint16 else largest.view(np.float32)
    return (values / np.float32(255.0)).astype(np.float32)


def pack_all_lines(
    arrays: dict[str, NDArray[Any]], scale: NDArray[np.float32], progress: Callable[[str, int, int], None] | None
) -> NDArray[np.uint8]:
    """Return the sketch lines of all documents, uint8[n_lines, 64]."""
    indptr, terms = arrays["forward_start"], arrays["forward_terms"]
    n_docs = len(indptr) - 1
    width = terms_per_line(terms.dtype)
    n_lines = int(np.maximum(1, -(-np.diff(indptr) // width)).sum())
    lines = np.zeros((n_lines, LINE_BYTES), dtype=np.uint8)
    views = line_views(lines, terms.dtype)
    with np.errstate(divide="ignore"):
        inverse = np.where(scale > 0, np.float32(1.0) / scale, np.float32(0.0)).astype(np.float32)
    rest = n_docs
    for first in range(0, n_docs, _CHUNK):
        stop = min(n_docs, first + _CHUNK)
        at = slice(int(indptr[first]), int(indptr[stop]))
        impacts = arrays["forward_impacts"][at]
        values = impacts.view(np.float16).astype(np.float32) if impacts.dtype == np.uint16 else impacts
        local = np.ascontiguousarray(indptr[first : stop + 1] - indptr[first])
        rest = pack_lines(first, local, terms[at].astype(np.uint32), values, inverse, rest, *views)
        if progress is not None:
            progress("sketch", stop, n_docs)
    return lines


def first_line_share(arrays: dict[str, NDArray[Any]], lines: NDArray[np.uint8], scale: NDArray[np.float32]) -> float:
    """Return which share of its documents' mass the first lines hold, at most .7: what `beta` is set to.

    A text whose encoder concentrates its mass less tells less by its first line.
    """
    terms, n_docs = arrays["forward_terms"], len(arrays["forward_start"]) - 1
    sample = np.linspace(0, n_docs - 1, min(n_docs, 10_000)).astype(np.int64)
    width = terms_per_line(terms.dtype)
    first = lines[sample]
    held = first.view(terms.dtype)[:, :width]
    steps = first[:, width * terms.dtype.itemsize : width * (terms.dtype.itemsize + 1)]
    shown = float((scale[held] * steps).sum(dtype=np.float64)) if len(scale) else 0.0
    starts, stops = arrays["forward_start"][sample], arrays["forward_start"][sample + 1]
    whole = 0.0
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        impacts = arrays["forward_impacts"][start:stop]
        whole += float((impacts.view(np.float16) if impacts.dtype == np.uint16 else impacts).sum(dtype=np.float64))
    return min(0.7, shown / whole) if whole > 0 else 0.7


def invert(arrays: dict[str, NDArray[Any]], n_terms: int) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[Any]]:
    """Return the full postings lists: (starts int64[n_terms + 1], documents uint32[nnz], rising in a list, impacts)."""
    indptr, terms = arrays["forward_start"], arrays["forward_terms"]
    docs = np.repeat(np.arange(len(indptr) - 1, dtype=np.uint32), np.diff(indptr))
    order = np.argsort(terms, kind="stable")
    start = _offsets(np.bincount(terms, minlength=n_terms))
    return start, docs[order], arrays["forward_impacts"][order]


def prune(
    start: NDArray[np.int64], docs: NDArray[np.uint32], impacts: NDArray[Any], config: IndexConfig
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the lists cut to max_fraction * n_postings documents, those with the largest impacts."""
    keys = _sortable(impacts)
    if keys.dtype != np.uint16:
        keys = (keys >> 16).astype(np.uint16)
    limit = max(1, int(config.n_postings * config.max_fraction))
    kept = _offsets(np.minimum(np.diff(start), limit))
    kept_docs = np.empty(int(kept[-1]), dtype=np.uint32)
    largest_postings(start, docs, keys, limit, kept, kept_docs)
    return kept, kept_docs


def _lists(
    start: NDArray[np.int64],
    docs: NDArray[np.uint32],
    collection_terms: NDArray[np.uint32],
    scale: NDArray[np.float32],
    lines: NDArray[np.uint8],
    config: IndexConfig,
    threads: int,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, NDArray[Any]]:
    n_terms = len(start) - 1
    dtype = np.dtype(np.uint16 if n_terms <= 2**16 else np.uint32)
    views = line_views(lines, dtype)
    room = 1 << (16 if dtype == np.uint16 else n_terms.bit_length())
    scales = np.zeros(room, dtype=np.float32)
    scales[:n_terms] = scale
    scratch: deque[tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int64]]] = deque()

    def work(first: int, stop: int) -> _Lists:
        try:
            tables = scratch.pop()
        except IndexError:
            tables = (np.full(room, -1, dtype=np.int32), np.zeros(room, dtype=np.uint8), np.empty(room, dtype=np.int64))
        local = np.ascontiguousarray(start[first : stop + 1] - start[first])
        sizes = np.diff(local)
        blocks = np.ceil(sizes[sizes > config.short_list] * config.centroid_fraction).astype(np.int64)
        summaries = np.zeros((int(blocks.sum()) * config.summary_lines, LINE_BYTES), dtype=np.uint8)
        block_docs = np.empty(int(local[-1]), dtype=np.uint32)
        block_sizes = np.empty(int(local[-1]), dtype=np.uint32)
        list_blocks = np.empty(stop - first, dtype=np.int64)
        n_lines = build_lists(
            local, docs[start[first] : start[stop]], collection_terms[first:stop].astype(np.int64),
            config.centroid_fraction, config.min_cluster_size, config.short_list, config.doc_cut, config.summary_lines,
            *views, scales, *tables, block_docs, block_sizes, *line_views(summaries, dtype)[:2], list_blocks,
        )  # fmt: skip
        scratch.append(tables)
        return _Lists(list_blocks, block_sizes[: int(list_blocks.sum())], block_docs, summaries[:n_lines])

    parts: list[_Lists] = []
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[int, Future[_Lists]]] = deque()

        def take() -> None:
            done, future = waiting.popleft()
            parts.append(future.result())
            if progress is not None:
                progress("lists", done, n_terms)

        try:
            for first, stop in _groups(start):
                waiting.append((stop, pool.submit(work, first, stop)))
                if len(waiting) > 2 * threads:
                    take()
            while waiting:
                take()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        parts = [_Lists(nothing, nothing, nothing, np.zeros((0, LINE_BYTES), dtype=np.uint8))]
    list_blocks = np.concatenate([part.list_blocks for part in parts])
    summarised = np.where(np.diff(start) > config.short_list, list_blocks, 0)
    return {
        "list_block": _offsets(list_blocks),
        "list_summary": _offsets(summarised * config.summary_lines),
        "block_start": _offsets(np.concatenate([part.block_sizes for part in parts])).astype(np.uint32),
        "block_docs": np.concatenate([part.block_docs for part in parts]).astype(np.uint32),
        "summaries": np.concatenate([part.summaries for part in parts]),
    }


class _Lists(NamedTuple):
    """What becomes of one group of lists."""

    list_blocks: NDArray[np.int64]
    block_sizes: NDArray[Any]
    block_docs: NDArray[Any]
    summaries: NDArray[np.uint8]


def _groups(start: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    first = 0
    n = len(start) - 1
    while first < n:
        stop = int(np.searchsorted(start, start[first] + _GROUP, side="right")) - 1
        stop = min(n, max(first + 1, stop))
        yield first, stop
        first = stop


def _offsets(sizes: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _sortable(impacts: NDArray[Any]) -> NDArray[Any]:
    """Return integers that compare as the impacts do, which are not negative."""
    return impacts if impacts.dtype == np.uint16 else impacts.view(np.uint32)
