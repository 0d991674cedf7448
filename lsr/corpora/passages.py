"""Long texts cut into passages (`--chunk WORDS`).

A document `d1` becomes `d1#1`, `d1#2`, … of at most that many words each, with `parent` set to `d1` and with the same
title and metadata. Texts are cut between words and not changed: a passage is a slice of the text. A short or empty
document also becomes `d1#1`, so that grouping by parent always works.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lsr.corpora.corpus import Corpus, CorpusLine, WrappedCorpus
from lsr.documents import MAX_ID_BYTES, Document
from lsr.errors import InvalidDocument

_WORD = re.compile(r"\S+")


class PassageCorpus(WrappedCorpus):
    """A corpus whose documents are cut into passages of at most `words` words."""

    def __init__(self, corpus: Corpus, words: int) -> None:
        if words < 1:
            raise ValueError(f"a passage has at least one word, not {words}")
        super().__init__(corpus)
        self._words = words

    def identity(self) -> str | None:
        """Return the wrapped corpus's identity and the length of a passage."""
        identity = super().identity()
        return identity and f"{identity}:chunk={self._words}"

    def __iter__(self) -> Iterator[CorpusLine]:
        for number, content in self._corpus:
            if isinstance(content, Document):
                for passage in cut(content, self._words):
                    yield CorpusLine(number, passage)
            else:
                yield CorpusLine(number, content)


def cut(document: Document, words: int) -> Iterator[Document | InvalidDocument]:
    """Yield the passages of a document, in order; an InvalidDocument if it cannot be cut."""
    if document.vectors:
        yield InvalidDocument("cannot_chunk", "a document with ready-made vectors cannot be cut", field="vectors")
        return
    if len(f"{document.id}#{len(document.text)}".encode()) > MAX_ID_BYTES:
        detail = f"with #1, #2, … appended the id is longer than {MAX_ID_BYTES} bytes"
        yield InvalidDocument("invalid_id", detail, field="id")
        return
    spans = [match.span() for match in _WORD.finditer(document.text)]
    for part, first in enumerate(range(0, max(len(spans), 1), words), start=1):
        window = spans[first : first + words]
        text = document.text[window[0][0] : window[-1][1]] if window else ""
        yield replace(document, id=f"{document.id}#{part}", text=text, parent=document.id)
