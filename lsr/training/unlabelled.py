"""Pairs from a corpus that nobody labelled: a document's title is a query for its text, or else its first sentence
for the rest (the inverse cloze task, Lee et al. 2019, arXiv:1906.00300).

What became the query is taken out of the text, so that the model cannot answer by looking for a copy.
"""

from __future__ import annotations

import re

from lsr.documents import Document

_FEWEST_WORDS = 3
_MOST_WORDS = 64  # of a query
_FEWEST_TEXT_WORDS = 10
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n\s*\n")


def query_and_text(document: Document) -> tuple[str, str] | None:
    """Return the pair that the document gives; None if it is too short for one."""
    title, text = document.title.strip(), document.text.strip()
    if not title:
        parts = _SENTENCE.split(text, maxsplit=1)
        title, text = parts[0].strip(), parts[1].strip() if len(parts) == 2 else ""
    if not _FEWEST_WORDS <= len(title.split()) <= _MOST_WORDS or len(text.split()) < _FEWEST_TEXT_WORDS:
        return None
    return title, text
