"""Chooses the segments to merge next, so that neither their number nor their deleted documents grow without bound.

Segments belong to levels by their number of live documents; each level is four times as large as the one below. Four
segments of one level are merged into one, which then belongs to a higher level. So a document is rewritten about once
per level, and there are at most three segments per level: about a dozen for millions of documents. A segment with more
than a fifth of its documents deleted is rewritten on its own, if they are enough to be worth it.

Source: the tiered compaction of LSM trees (O'Neil et al. 1996; Lucene's TieredMergePolicy).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SMALLEST_LEVEL = 10_000  # live documents
FACTOR = 4
DEAD_SHARE = 0.2
DEAD_AT_LEAST = 1000  # fewer are not worth rewriting a segment for


class SegmentSize(NamedTuple):
    """A segment's number of documents, including deleted ones, and the number of live ones."""

    documents: int
    live: int


def level(live: int) -> int:
    """Return the level of a segment: 0 below 40,000 live documents, 1 below 160,000, …"""
    number = 0
    while live >= SMALLEST_LEVEL * FACTOR:
        live //= FACTOR
        number += 1
    return number


def choose_merge(sizes: Sequence[SegmentSize]) -> list[int]:
    """Return the positions of the segments to merge into one now; empty if no merge is needed."""
    by_level: dict[int, list[int]] = {}
    for at, size in enumerate(sizes):
        by_level.setdefault(level(size.live), []).append(at)
    # First reduce the number of segments: a merge also drops deleted documents, but rewriting keeps the number.
    for _, positions in sorted(by_level.items()):
        if len(positions) >= FACTOR:
            return positions
    for at, size in enumerate(sizes):
        if size.documents - size.live > max(DEAD_AT_LEAST, DEAD_SHARE * size.documents):
            return [at]
    return []
