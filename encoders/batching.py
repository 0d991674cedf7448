"""Batches by token count: texts of like length together, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

MAX_ROWS = 128  # texts a batch: bounds the rows x vocabulary of the pooled weights


def token_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield positions of `lengths`, each once, longest first; a batch padded to its longest has up to `max_tokens`.

    A text that is longer than `max_tokens` makes a batch of its own.
    """
    batch: list[int] = []
    width = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (len(batch) == MAX_ROWS or (len(batch) + 1) * width > max_tokens):
            yield batch
            batch = []
        if not batch:
            width = lengths[position]
        batch.append(position)
    if batch:
        yield batch
