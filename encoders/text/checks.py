"""Input texts of an encoder: checked, and cut into batches.

An input that is not a string, or is one that cannot be written to a file (a lone surrogate, which JSON can express),
is refused before any work is done; the error names its position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from encoders.errors import TextError


def check_texts(texts: Sequence[str], first: int = 0) -> list[str]:
    """Return `texts` as a list; raise TextError naming the position (counted from `first`) of an invalid one."""
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
                raise TextError(f"text {position} contains a lone surrogate at character {error.start}") from None
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
