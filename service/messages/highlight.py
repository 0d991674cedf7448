"""The positions of the matched terms in a hit's title and text.

An encoder's terms are not words: BM25 stems ("studies" is `studi`), a model cuts words into pieces. The encoder says
which words of a text became which terms. A word is highlighted if one of its terms matched; its weight is the
contribution of its matched terms to the score. Expansion terms that are not in the text highlight nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def merged(found: Sequence[Sequence[Highlight]]) -> list[Highlight]:
    """Return the marks of several lists as one, in reading order; what two lists mark has their weights added up."""
    if len(found) == 1:
        return list(found[0])
    weights: dict[tuple[str, int, int], float] = {}
    for marks in found:
        for mark in marks:
            place = (mark.field, mark.start, mark.end)
            weights[place] = weights.get(place, 0.0) + mark.weight
    ordered = sorted(weights, key=lambda place: (place[0] != "title", place[1], place[2]))
    kept: list[Highlight] = []
    for place in ordered:
        # Lists may cut words differently: of marks that overlap the first one stays.
        if not kept or kept[-1].field != place[0] or kept[-1].end <= place[1]:
            kept.append(Highlight(*place, weights[place]))
    return kept[:MAX_HIGHLIGHTS]
