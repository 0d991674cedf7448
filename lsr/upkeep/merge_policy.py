"""Which segments to merge next, so that neither their number nor the dead documents in them grow without bound.

Segments fall into levels by their live documents, each level four times as large as the one below. Four segments in
one level are merged into one, which is then in a higher level; so a document is rewritten about once a level, and
there are at most three segments a level: some dozen for millions of documents. A segment of which a fifth is dead is
rewritten by itself, once that is worth it.

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
    """A segment's documents, the deleted ones included, and how many of them live."""

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
    """Return the positions of the segments to merge into one now; empty when all is well."""
    by_level: dict[int, list[int]] = {}
    for at, size in enumerate(sizes):
        by_level.setdefault(level(size.live), []).append(at)
    # Many segments come before dead documents: joining them drops theirs, too, while a rewritten one is still one.
    for _, positions in sorted(by_level.items()):
        if len(positions) >= FACTOR:
            return positions
    for at, size in enumerate(sizes):
        if size.documents - size.live > max(DEAD_AT_LEAST, DEAD_SHARE * size.documents):
            return [at]
    return []
