"""The term numbers that a system without tokens gets, such as Qdrant or Milvus.

an encoder's fixed vocabulary      its numbers: lsr import --encoder NAME reads them back
tokens that are all decimal        these numbers: such a collection came from a system with numbers
else (words, BM25)                 the collection's own numbers, which only a table explains
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lsr.documents import MAX_TERM
from lsr.exchange.rows import same_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoders.encoder import Vocabulary

_BATCH: Final = 100_000


@dataclass(frozen=True)
class TermNumbers:
    """`numbers` maps a collection's term numbers int64[n] to the exported ones; `own`: they are the collection's."""

    numbers: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    own: bool
    tokens: Callable[[Any], list[str]]
    count: int

    def pairs(self) -> Iterator[tuple[int, str]]:
        """Yield (exported number, token) of the whole vocabulary."""
        for first in range(0, self.count, _BATCH):
            ids = np.arange(first, min(first + _BATCH, self.count), dtype=np.int64)
            yield from zip(self.numbers(ids).tolist(), self.tokens(ids), strict=True)


def numbers_of(vocabulary: Vocabulary, *, given: bool) -> TermNumbers:
    """Return the numbers for a vocabulary; `given`: its vectors are given ready-made, no encoder makes them."""
    count = len(vocabulary)
    if not given:
        return TermNumbers(same_numbers, vocabulary.grows, vocabulary.tokens, count)
    table = np.empty(count, dtype=np.int64)
    for first in range(0, count, _BATCH):
        last = min(first + _BATCH, count)
        numbers = list(map(_number, vocabulary.tokens(range(first, last))))
        if min(numbers) < 0:
            return TermNumbers(same_numbers, True, vocabulary.tokens, count)
        table[first:last] = numbers
    return TermNumbers(lambda ids: table[ids], False, vocabulary.tokens, count)


def _number(token: str) -> int:
    """Return the term number that a token is as a decimal, -1 if it is none."""
    number = int(token) if token.isascii() and token.isdecimal() and len(token) < 11 else -1
    return number if str(number) == token and number <= MAX_TERM else -1
