"""The positions of the matched terms in a hit's title and text.

An encoder's terms are not words: BM25 stems ("studies" is `studi`), a model cuts words into pieces. The encoder says
which words of a text became which terms. A word is highlighted if one of its terms matched; its weight is the
contribution of its matched terms to the score. Expansion terms that are not in the text highlight nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from encoders.encoder import Encoder
from encoders.text.words import highlights
from lsr.documents import Document

MAX_HIGHLIGHTS: Final = 256  # per hit


class Highlight(NamedTuple):
    """Characters [start, end) of `field` are a matched word; `weight` is its terms' contribution to the score."""

    field: str
    start: int
    end: int
    weight: float


def highlight(encoder: Encoder, document: Document, contributions: Mapping[int, float]) -> list[Highlight]:
    """Return the words of title and text that contain a matched term, in reading order.

    `contributions` maps the matched terms' numbers to their contributions.
    """
    if not contributions:
        return []
    return [
        Highlight(field, start, end, weight)
        for field, text in (("title", document.title), ("text", document.text))
        for start, end, weight in highlights(encoder.words(text, contributions.keys()), contributions)
    ][:MAX_HIGHLIGHTS]
