"""The words of a text, run by run: what stands between two spaces is looked at once, and remembered.

Text repeats itself: most runs of a text ("the", "cells,", "(BRCA1)") have been seen before, and where no word crosses
a space, the words of a text are the words of its runs. Finding words costs microseconds each, a lookup a fraction of
one; highlighting, which does it for every hit of a search, lives on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_REMEMBERED = 100_000  # runs, then it starts afresh: about 40 MB
_LONGEST = 64  # characters; a longer run, of a script without spaces say, does not come again

T = TypeVar("T")


class Runs(dict[str, list[tuple[int, int, T]]], Generic[T]):
    """Run -> (start, end, what it became) of each word in it, as `find` gives them. Safe where `find` is."""

    def __init__(self, find: Callable[[str], list[tuple[int, int, T]]]) -> None:
        super().__init__()
        self._find = find

    def of(self, text: str) -> Iterator[tuple[int, list[tuple[int, int, T]]]]:
        """Yield where each run of `text` begins, and its words, whose places count from there."""
        if len(self) > _REMEMBERED:
            self.clear()
        offset = 0
        for run in text.split(" "):
            yield offset, self[run]
            offset += len(run) + 1

    def __missing__(self, run: str) -> list[tuple[int, int, T]]:
        words = self._find(run)
        if len(run) <= _LONGEST:
            self[run] = words
        return words
