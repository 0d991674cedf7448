"""Where the matched terms stand in a hit's title and text.

An encoder's terms are not words: BM25 stems ("studies" is `studi`), a model cuts words into pieces. What all encoders
can do is name the terms that a text itself holds (`input_term_ids`). So the text is cut at everything that is neither
letter nor digit, each word is given to the encoder, and a word is marked when one of its terms was matched; its weight
is the largest contribution among them. Expansion terms that stand nowhere in the text mark nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from encoders.encoder import Encoder
from lsr.documents import Document

MAX_HIGHLIGHTS: Final = 256  # a hit
_MAX_CACHED_WORDS: Final = 50_000
_MAX_ENCODERS: Final = 64
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class Highlight(NamedTuple):
    """Characters [start, end) of `field` are a matched word; `weight` is its term's contribution to the score."""

    field: str
    start: int
    end: int
    weight: float


class Highlighters:
    """A highlighter an encoder, kept between requests."""

    def __init__(self) -> None:
        self._by_encoder: dict[int, Highlighter] = {}

    def of(self, encoder: Encoder) -> Highlighter:
        """Return the highlighter of `encoder`."""
        found = self._by_encoder.get(id(encoder))
        if found is None:
            if len(self._by_encoder) >= _MAX_ENCODERS:
                self._by_encoder = {}
            found = Highlighter(encoder)  # holds the encoder, so its id is not given to another one
            self._by_encoder[id(encoder)] = found
        return found


class Highlighter:
    """Marks words for one encoder; remembers the terms of words it has seen. Safe to use from many threads."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._tokens_of: dict[str, tuple[str, ...]] = {}

    def highlight(self, document: Document, weights: Mapping[str, float]) -> list[Highlight]:
        """Return the words of title and text that hold a token of `weights`, in reading order."""
        found: list[Highlight] = []
        if not weights:
            return found
        weight_of: dict[str, float] = {}
        for field, text in (("title", document.title), ("text", document.text)):
            for word in set(_WORD.findall(text)).difference(weight_of):
                weight_of[word] = max((weights.get(token, 0.0) for token in self._tokens(word)), default=0.0)
            for match in _WORD.finditer(text):
                weight = weight_of[match.group()]
                if weight > 0:
                    found.append(Highlight(field, match.start(), match.end(), weight))
                    if len(found) == MAX_HIGHLIGHTS:
                        return found
        return found

    def _tokens(self, word: str) -> tuple[str, ...]:
        tokens = self._tokens_of.get(word)
        if tokens is None:
            ids = self._encoder.input_term_ids(word)
            tokens = tuple(self._encoder.vocabulary.tokens(ids))
            if len(self._tokens_of) >= _MAX_CACHED_WORDS:
                self._tokens_of = {}
            self._tokens_of[word] = tokens
        return tokens
