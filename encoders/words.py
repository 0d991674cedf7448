"""Words of a text: where they stand, and which terms they became.

A model's vocabulary holds word pieces ("retriev" + "##er"), BM25's holds stems. A reader thinks in words. `Word` ties
the two together: the span of a word in the original text, character for character, and the ids of its terms. Folding
the weights of a vector over the words of its text gives the bag of whole words of ColBERTer (Hofstätter et al. 2022),
used here to display, to explain and to highlight; terms that stand in no word of the text are expansion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Word(NamedTuple):
    """One word: text[start:end], and the ids of the terms it became (none for a stop word)."""

    start: int
    end: int
    term_ids: tuple[int, ...]


@dataclass(frozen=True)
class WholeWord:
    """All places of one word of a text, with the weight of its terms together."""

    word: str
    weight: float
    spans: tuple[tuple[int, int], ...]
    term_ids: tuple[int, ...]


def whole_words(text: str, words: Sequence[Word], weights: Mapping[int, float]) -> tuple[list[WholeWord], list[int]]:
    """Return the text's words by falling weight, and the ids of the terms that stand in none of them.

    `words` are those of `text` (`encoder.words`), `weights` its vector as term id -> weight. A word's weight is the sum
    of its distinct terms' weights; words without any are left out. Equal weights: the earlier word first. Words that
    differ only in case are one, spelled as at its first place.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    first: dict[str, Word] = {}
    terms: dict[str, dict[int, None]] = {}
    for word in words:
        key = text[word.start : word.end].casefold()
        first.setdefault(key, word)
        spans.setdefault(key, []).append((word.start, word.end))
        terms.setdefault(key, {}).update(dict.fromkeys(word.term_ids))
    folded = []
    for key, word in first.items():
        ids = tuple(term for term in terms[key] if term in weights)
        if ids:
            folded.append(WholeWord(text[word.start : word.end], sum(weights[i] for i in ids), tuple(spans[key]), ids))
    folded.sort(key=lambda whole: (-whole.weight, whole.spans[0]))
    inside = {term for whole in folded for term in whole.term_ids}
    return folded, [term for term in sorted(weights, key=lambda i: (-weights[i], i)) if term not in inside]


def highlights(words: Sequence[Word], weights: Mapping[int, float]) -> list[tuple[int, int, float]]:
    """Return (start, end, weight) of each word of a text that holds a term of `weights`, in order.

    `weights` are a query's: the weight is the sum over the word's terms that the query holds.
    """
    found = []
    for word in words:
        hit = [weights[term] for term in dict.fromkeys(word.term_ids) if term in weights]
        if hit:
            found.append((word.start, word.end, float(sum(hit))))
    return found
