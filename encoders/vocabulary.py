"""The two kinds of vocabulary: a model's, which is fixed, and a collection's own, which grows.

The number of a stored term never changes. `GrowingVocabulary` appends, and `forget` removes what was not stored. To
store it, write
`vocabulary.tokens(range(stored, len(vocabulary)))`; to restore it, add the same tokens in the same order to an empty
one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray


class FixedVocabulary:
    """A model's vocabulary: token i is `tokens[i]`. Unknown tokens are refused, never added."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = list(tokens)
        self._ids = {token: number for number, token in enumerate(self._tokens)}

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def grows(self) -> bool:
        """False: a model has no weights for a token that it was not trained with."""
        return False

    def ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Return each token's number, int64[len(tokens)]; -1 for an unknown one."""
        return _lookup(self._ids, tokens)

    def add(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Return each token's number; raise TypeError if one is unknown."""
        ids = self.ids(tokens)
        if (ids < 0).any():
            unknown = tokens[int(np.flatnonzero(ids < 0)[0])]
            raise TypeError(f"{unknown!r} is not in the model's vocabulary, which does not grow")
        return ids

    def tokens(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """Return the tokens with these numbers; raise IndexError for a number outside the vocabulary."""
        return _tokens(self._tokens, ids)


class GrowingVocabulary:
    """Tokens in the order in which they were first added. Safe to use from many threads."""

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self._tokens: list[str] = []
        self._ids: dict[str, int] = {}
        self._growing = threading.Lock()
        self.add(list(tokens))

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def grows(self) -> bool:
        """True."""
        return True

    def ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Return each token's number, int64[len(tokens)]; -1 for an unknown one. Never adds."""
        return _lookup(self._ids, tokens)

    def add(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Return each token's number, int64[len(tokens)], adding the unknown ones at the end in the order given."""
        ids = self.ids(tokens)
        unknown = np.flatnonzero(ids < 0)
        if unknown.size:
            with self._growing:
                for position in unknown.tolist():
                    token = tokens[position]
                    number = self._ids.get(token)
                    if number is None:
                        number = len(self._tokens)
                        # The list first: a thread that finds the number must also find its token.
                        self._tokens.append(token)
                        self._ids[token] = number
                    ids[position] = number
        return ids

    def forget(self, start: int) -> None:
        """Remove the tokens with numbers from `start` on: nothing that is kept may use them, and no thread may add."""
        with self._growing:
            for token in self._tokens[start:]:
                del self._ids[token]
            del self._tokens[start:]

    def tokens(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """Return the tokens with these numbers; raise IndexError for an unknown number."""
        return _tokens(self._tokens, ids)


def _lookup(numbers: dict[str, int], tokens: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(numbers.get, tokens, repeat(-1)), dtype=np.int64, count=len(tokens))


def _tokens(tokens: list[str], ids: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
    numbers = np.asarray(ids, dtype=np.int64)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= len(tokens)):
        wrong = next(int(i) for i in numbers.ravel() if not 0 <= i < len(tokens))
        raise IndexError(f"term {wrong} is not in a vocabulary of {len(tokens)} terms")
    return [tokens[i] for i in numbers.tolist()]
