"""The words of a text, run by run: a run, the characters between two spaces, is analysed once and remembered.

Most runs of a text ("the", "cells,", "(BRCA1)") have been seen before, and where no word crosses a space, the words of
a text are the words of its runs. Finding a word takes microseconds, a lookup a fraction of one; highlighting, which
finds the words of every hit of a search, depends on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_REMEMBERED = 100_000  # runs; then all are forgotten: about 40 MB
_LONGEST = 64  # characters; a longer run, as in a script without spaces, does not repeat

T = TypeVar("T")


class Runs(dict[str, list[tuple[int, int, T]]], Generic[T]):
    """Run -> (start, end, value) of each word in it, as `find` returns them. Thread-safe if `find` is."""

    def __init__(self, find: Callable[[str], list[tuple[int, int, T]]]) -> None:
        super().__init__()
        self._find = find

    def of(self, text: str) -> Iterator[tuple[int, list[tuple[int, int, T]]]]:
        """Yield the start of each run of `text`, and its words with positions relative to it."""
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
