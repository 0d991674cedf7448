"""Pairs from texts without labels: a document's title is a query for its text, or else one of its sentences for the
rest (the inverse cloze task, Lee et al. 2019, arXiv:1906.00300). The query is removed from the text, so that the model
cannot answer by looking for a copy.

Where teachers are distilled, a sentence may stay in its text (`sentence` of [[data]]): the model learns how the
teachers order the other candidates, and the document is read once for all its queries. The last sentence is often the
claim of an abstract.
"""

from __future__ import annotations

import re

from lsr.documents import Document

FEWEST_WORDS = 3
MOST_WORDS = 64  # of a query
FEWEST_TEXT_WORDS = 10
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n\s*\n")


def query_and_text(document: Document) -> tuple[str, str] | None:
    """Return the document's pair, by title or first sentence; None if the document is too short."""
    title, text = document.title.strip(), document.text.strip()
    return _long_enough(title, text) if title else sentence_and_rest(text)


def sentence_and_rest(text: str, *, last: bool = False) -> tuple[str, str] | None:
    """Return the first or last sentence and the text without it; None if one of them is too short."""
    *parts, end = (part.strip() for part in _SENTENCE.split(text.strip()))
    if not parts:
        return None
    if last:
        return _long_enough(end, " ".join(parts))
    return _long_enough(parts[0], " ".join([*parts[1:], end]))


def _long_enough(query: str, text: str) -> tuple[str, str] | None:
    if not FEWEST_WORDS <= len(query.split()) <= MOST_WORDS or len(text.split()) < FEWEST_TEXT_WORDS:
        return None
    return query, text
