"""Answers and encoded queries that are kept for when they are asked for again.

An answer is found again only for the same request on the same generation: every acknowledged write makes a new one. The
key also holds the encoders' fingerprints, the search defaults and the caller's scope, so nothing is shared that should
not be. Partial answers and pages are never kept. Both caches are bounded in bytes; the least recently used goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from lsr.results import SearchResult

RESULT_BYTES: Final = 32 << 20
ENCODING_BYTES: Final = 16 << 20
_HIT_BYTES: Final = 600  # of a hit and its legs, without its texts
_TERM_BYTES: Final = 200

T = TypeVar("T")


class BoundedCache(Generic[T]):
    """A map that forgets what was not used for longest. Safe to use from many threads."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> T | None:
        """Return what is kept under the key, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        """Keep `value`, which takes about `size` bytes, unless it alone is larger than an eighth of the cache."""
        if size > self.max_bytes // 8:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self.bytes += size - (old[1] if old is not None else 0)
            self._entries[key] = (value, size)
            while self.bytes > self.max_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self.bytes -= freed

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0


def size_of(result: SearchResult) -> int:
    """Return about how many bytes a result takes."""
    size = _TERM_BYTES * len(result.query_terms)
    for hit in result.hits:
        document = hit.document
        texts = len(document.title) + len(document.text) + sum(len(passage.text) for passage in hit.passages)
        terms = len(hit.matched) + sum(len(leg.matched) for leg in hit.legs)
        size += _HIT_BYTES + 2 * texts + 64 * len(document.metadata) + _TERM_BYTES * terms
    return size
