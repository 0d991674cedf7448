"""Texts on their way into an encoder: checked, and cut into batches.

What an encoder is given comes from outside. Anything that is not a string, or is one that no file could hold
(a lone surrogate, which JSON can spell), is refused by its position before any work is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from encoders.errors import TextError


def check_texts(texts: Sequence[str], first: int = 0) -> list[str]:
    """Return `texts` as a list; raise TextError naming the position (counted from `first`) of one that is no text."""
    if isinstance(texts, str | bytes):
        raise TextError(f"expected a sequence of texts, got one {type(texts).__name__}: put it in a list")
    checked = list(texts)
    for position, text in enumerate(checked, start=first):
        if not isinstance(text, str):
            raise TextError(f"text {position} is a {type(text).__name__}, not a string")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise TextError(f"text {position} holds a lone surrogate at character {error.start}") from None
    return checked


def batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield consecutive lists of up to `size` checked texts; a TextError gives the position in the whole stream."""
    if isinstance(texts, str | bytes):
        raise TextError(f"expected texts, got one {type(texts).__name__}: put it in a list")
    iterator = iter(texts)
    done = 0
    while batch := list(islice(iterator, size)):
        yield check_texts(batch, first=done)
        done += len(batch)
