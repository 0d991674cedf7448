"""The token ids of texts, run by run: a run, the characters between two spaces, is tokenised once and remembered.

Where no token crosses a space, the ids of a text are those of its runs, one after the other. Nine of ten runs of a
text have been seen before. The new runs of all texts of a call are tokenised together, as a few long texts with a
special token between two runs, because a call of the tokenizer costs as much as some ten words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

_REMEMBERED = 100_000  # runs; then all are forgotten: about 20 MB
_LONGEST = 64  # characters; a longer run, as in a script without spaces, does not repeat
_TOGETHER = 512  # runs in one text


class RunIds(dict[str, tuple[int, ...]]):
    """Run -> its token ids. Thread-safe if `tokenise` is."""

    def __init__(self, tokenise: Callable[[list[str]], list[list[int]]], separator: str, separator_id: int) -> None:
        """`tokenise` returns the ids of each text, without special tokens around it; `separator` is a special token."""
        super().__init__()
        self._tokenise = tokenise
        self._separator, self._separator_id = separator, separator_id

    def of(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens around it."""
        runs = [text.split(" ") for text in texts]
        if len(self) > _REMEMBERED:
            self.clear()
        new = [run for run in set(chain.from_iterable(runs)).difference(self) if self._is_ordinary(run)]
        self.update(zip(new, self._ids_of_runs(new), strict=True))
        return [list(chain.from_iterable(map(self.__getitem__, one))) for one in runs]

    def __missing__(self, run: str) -> tuple[int, ...]:
        """Tokenise a run that is not remembered: a long one, or one that another thread has just forgotten."""
        return tuple(self._tokenise([run])[0])

    def _is_ordinary(self, run: str) -> bool:
        return len(run) <= _LONGEST and self._separator not in run

    def _ids_of_runs(self, runs: list[str]) -> Iterator[tuple[int, ...]]:
        between, end = f" {self._separator} ", f" {self._separator}"
        blocks = [between.join(runs[first : first + _TOGETHER]) + end for first in range(0, len(runs), _TOGETHER)]
        for ids in self._tokenise(blocks):
            start = 0
            for at in (i for i, one in enumerate(ids) if one == self._separator_id):
                yield tuple(ids[start:at])
                start = at + 1
