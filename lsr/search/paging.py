"""Pages of one ranking: a cursor is a ranking that is kept for a while.

The kept ranking belongs to the generation that it was computed on, so pages neither repeat nor skip a document while
others are written, deleted or merged. It also keeps that generation's files mapped. So both are bounded: a cursor lives
for some minutes after it was last used, and the oldest are dropped when there are too many.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from lsr.errors import CursorGone

LIFETIME_SECONDS: Final = 300.0
MAX_CURSORS: Final = 256


@dataclass(slots=True)
class _Entry:
    content: Any
    request: object
    expires: float


class Cursors:
    """The rankings that are kept for a collection. Safe to use from many threads."""

    def __init__(self, lifetime: float = LIFETIME_SECONDS, most: int = MAX_CURSORS) -> None:
        self._lifetime = lifetime
        self._most = most
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, content: Any, request: object) -> str:
        """Keep `content`, the answer to `request`, and return its name."""
        name = secrets.token_urlsafe(16)
        now = time.monotonic()
        with self._lock:
            self._drop(now)
            self._entries[name] = _Entry(content, request, now + self._lifetime)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        return name

    def find(self, cursor: str, request: object) -> tuple[Any, str, int]:
        """Return (what was kept, its name, the position where the page begins).

        Raises CursorGone when it is not kept any longer, or was made for another request.
        """
        name, _, position = cursor.rpartition(".")
        now = time.monotonic()
        with self._lock:
            self._drop(now)
            entry = self._entries.get(name)
            if entry is None or not position.isascii() or not position.isdecimal() or len(position) > 9:
                raise CursorGone("the cursor is not kept here any longer: search again from the first page")
            if entry.request != request:
                raise CursorGone("the cursor belongs to another search: search again from the first page")
            entry.expires = now + self._lifetime
            self._entries.move_to_end(name)
            return entry.content, name, int(position)

    def clear(self) -> None:
        """Drop all of them."""
        with self._lock:
            self._entries.clear()

    def _drop(self, now: float) -> None:
        for name in [name for name, entry in self._entries.items() if entry.expires < now]:
            del self._entries[name]


def cursor_to(name: str, position: int) -> str:
    """Return the cursor of the page that begins at a position."""
    return f"{name}.{position}"
