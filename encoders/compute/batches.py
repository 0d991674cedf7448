"""Batches by token count, and on a CPU one batch per thread.

Texts of similar length share a batch, so that little time goes into padding. Threads that share the matrix products
of one batch wait for each other after each product, some hundred times per batch. With a batch of its own, a thread
waits for no other, and its numbers stay in the cache of its core (docs/decisions/0208). A query is computed by one
thread too: other threads search meanwhile, and a shared product waits for the core that they use
(docs/decisions/0210).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

MAX_ROWS = 128  # texts per batch: bounds the rows x vocabulary of the pooled weights


def token_batches(lengths: Sequence[int], max_tokens: int, max_padding: int | None = None) -> Iterator[list[int]]:
    """Yield positions of `lengths`, each once, longest first; a batch padded to its longest text has up to `max_tokens`
    tokens, of which up to `max_padding` are padding (None: no limit).

    A text that is longer than `max_tokens` is a batch of its own.
    """
    batch: list[int] = []
    width = padding = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[position]
        if batch and (
            len(batch) == MAX_ROWS
            or (len(batch) + 1) * width > max_tokens
            or (max_padding is not None and padding + width - length > max_padding)
        ):
            yield batch
            batch = []
        if not batch:
            width, padding = length, 0
        batch.append(position)
        padding += width - length
    if batch:
        yield batch


T = TypeVar("T")
R = TypeVar("R")

_starting = threading.Lock()


def compute_each(work: Callable[[T], R], batches: Sequence[T], *, small: bool = False) -> list[R]:
    """Return `work` of each batch, in order; the first error is raised, and batches that have not started are dropped.

    One batch per thread of torch is computed at a time; if there are fewer batches than threads, all threads share
    each batch, unless the batches are `small`.
    """
    count = torch.get_num_threads()
    if count == 1 or (len(batches) < count and not small):
        return [work(batch) for batch in batches]
    with _starting:
        threads = _single_threads(count)
    futures = [threads.submit(work, batch) for batch in batches]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


@cache
def _single_threads(count: int) -> ThreadPoolExecutor:
    """Return `count` threads in which torch computes with one thread."""
    threads = ThreadPoolExecutor(count, thread_name_prefix="encode-batch")
    all_are_there = threading.Barrier(count)

    def alone(_: int) -> None:
        all_are_there.wait()
        torch.get_num_threads()  # the first call in a thread sets its number, so it must come before ours
        torch.set_num_threads(1)

    list(threads.map(alone, range(count)))
    torch.set_num_threads(count)  # a number set in one thread is also the start value of later threads
    return threads
