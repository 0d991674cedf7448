"""Completions of what somebody types, from a collection's own titles and words, and titles as example queries.

They come from a sample of the live documents, evenly spaced over the collection, so that a large one costs no more
than a small one: a suggestion need not be complete. A title is what a document is called; a document without one has
the first words of its text instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import regex

from lsr.storage.generation import Generation

SAMPLE: Final = 5_000  # documents
_TITLE: Final = 120  # characters; a longer title is not offered
_TEXT: Final = 600  # characters of a text whose words are counted
_FIRST_WORDS: Final = 8
_WORD: Final = regex.compile(r"[\p{L}\p{M}][\p{L}\p{M}\p{N}'’-]{2,31}")


@dataclass(frozen=True, slots=True)
class Suggested:
    """Titles, and words with the number of sampled documents that hold them."""

    titles: tuple[str, ...]
    words: tuple[tuple[str, int], ...]


class Suggestions:
    """The titles and words of a generation's sample. Immutable."""

    def __init__(self, seq: int, documents: Iterable[tuple[str, str]]) -> None:
        """`documents` are the sample of generation `seq`, see `sampled`."""
        self.seq = seq
        titles: dict[str, str] = {}
        words: Counter[str] = Counter()
        for title, text in documents:
            if title and len(title) <= _TITLE:
                titles.setdefault(title.casefold(), title)
            words.update(set(_WORD.findall(f"{title} {text}".casefold())))
        self._titles = titles
        self._words = sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))

    def complete(self, prefix: str, size: int) -> Suggested:
        """Return up to `size` titles that hold a word that begins so, and up to `size` words that continue the last.

        An empty prefix gives example titles, evenly spaced over the sample, and no words.
        """
        wanted = " ".join(prefix.split()).casefold()
        if not wanted:
            return Suggested(tuple(self._examples(size)), ())
        first = [title for key, title in self._titles.items() if key.startswith(wanted) and key != wanted]
        inside = [title for key, title in self._titles.items() if f" {wanted}" in key]
        last = wanted.rsplit(" ", 1)[-1] if not prefix.endswith(" ") else ""
        words = [pair for pair in self._words if last and pair[0].startswith(last) and pair[0] != last]
        return Suggested(tuple(dict.fromkeys(first + inside))[:size], tuple(words[:size]))

    def _examples(self, size: int) -> list[str]:
        fitting = [title for title in self._titles.values() if 12 <= len(title) <= 80] or list(self._titles.values())
        if not fitting:
            return []
        chosen = np.linspace(0, len(fitting) - 1, min(size + 2, len(fitting))).astype(np.int64).tolist()
        return [fitting[at] for at in dict.fromkeys(chosen)][:size]


def sampled(generation: Generation, step: int | None = None) -> Iterator[tuple[str, str]]:
    """Yield (title, the first characters of the text) of evenly spaced live documents; `step` None: of SAMPLE."""
    step = step or max(1, generation.document_count // SAMPLE)
    for view in generation.segments:
        rows = np.arange(len(view.segment)) if view.live is None else np.flatnonzero(view.live)
        table = view.segment.documents.table.select(["title", "text"]).take(rows[::step])
        for title, text in zip(table.column("title"), table.column("text"), strict=True):
            yield _named(title.as_py(), text.as_py())
    for chunk in generation.pending.chunks:
        for position in np.flatnonzero(chunk.live)[::step].tolist():
            document = chunk.content.documents[position]
            yield _named(document.title, document.text)


def _named(title: str, text: str) -> tuple[str, str]:
    text = text[:_TEXT]
    return " ".join((title or " ".join(text.split()[:_FIRST_WORDS])).split()), text
