"""The passages before and after a hit, for a reader who needs more of the text than was found.

Passages of one text have its id as `parent`, and ids that end in their number: `lsr index --chunk` calls them `d1#1`,
`d1#2`, …. Neighbours are added in turn after and before the hit as long as the budget of words lasts.
"""

from __future__ import annotations

import re
from typing import Final

from lsr.documents import Document
from lsr.results import Passage
from lsr.storage.generation import Generation

_NUMBERED: Final = re.compile(r"(.*\D)(\d{1,9})", re.DOTALL)


def neighbours(generation: Generation, document: Document, words: int) -> tuple[Passage, ...]:
    """Return the passages around a document within the budget, in reading order; none for a text that is whole."""
    match = _NUMBERED.fullmatch(document.id)
    if document.parent is None or match is None:
        return ()
    stem, number = match[1], int(match[2])
    width = len(match[2]) if match[2].startswith("0") else 0
    found: list[Passage] = []
    open_sides = {1: 1, -1: 1}  # direction -> the next distance
    while words > 0 and open_sides:
        for direction in list(open_sides):
            distance = open_sides[direction]
            place = (
                generation.find(f"{stem}{number + direction * distance:0{width}d}")
                if number + direction * distance >= 0
                else None
            )
            neighbour = None if place is None else place.document()
            length = len(neighbour.text.split()) if neighbour is not None else 0
            if neighbour is None or neighbour.parent != document.parent or length > words:
                del open_sides[direction]
                continue
            words -= length
            found.append(Passage(neighbour.id, direction * distance, neighbour.text))
            open_sides[direction] = distance + 1
    return tuple(sorted(found, key=lambda passage: passage.position))
