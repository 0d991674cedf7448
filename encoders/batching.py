"""Batches by token count: texts of like length together, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

MAX_ROWS = 128  # texts a batch: bounds the rows x vocabulary of the pooled weights


def token_batches(lengths: Sequence[int], max_tokens: int, max_padding: int | None = None) -> Iterator[list[int]]:
    """Yield positions of `lengths`, each once, longest first; a batch padded to its longest has up to `max_tokens`,
    of which up to `max_padding` are padding (None: any number).

    A text that is longer than `max_tokens` makes a batch of its own.
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
