"""Words of a text: their positions and their terms.

A model's vocabulary contains word pieces ("retriev" + "##er"), BM25's contains stems; readers think in words. `Word`
connects them: the span of a word in the original text, in characters, and the ids of its terms. Folding the weights of
a vector into the words of its text gives the bag of whole words of ColBERTer (Hofstätter et al. 2022), used here to
display, to explain and to highlight; terms that are in no word of the text are expansion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Word(NamedTuple):
    """One word: text[start:end], and the ids of its terms (none for a stop word)."""

    start: int
    end: int
    term_ids: tuple[int, ...]


@dataclass(frozen=True)
class WholeWord:
    """A word as the text spells it, and the total weight of its terms; None: a term that is in no word of the text."""

    word: str | None
    weight: float
    term_ids: tuple[int, ...]


def whole_words(text: str, words: Sequence[Word], weights: Mapping[int, float]) -> list[WholeWord]:
    """Return `weights` folded into the words of a text, by descending weight; each term counts in one word only.

    `words` are those of `text`, at least those that contain a term of `weights` (`encoder.words(text, weights)`). A
    piece such as "##s" is in many words: it counts in the one with the largest total weight, so that the words' weights
    add up to those of the terms. A term that is in no word is an entry of its own. Words that differ only in case are
    one, with the spelling of the first. Equal weights: the earlier word first, then words before single terms.
    """
    spelled: dict[str, str] = {}
    terms: dict[str, dict[int, None]] = {}
    for word in words:
        found = dict.fromkeys(term for term in word.term_ids if term in weights)
        if found:
            spelling = text[word.start : word.end]
            key = spelling.casefold()
            spelled.setdefault(key, spelling)
            terms.setdefault(key, {}).update(found)
    left = dict(weights)
    folded = []
    while terms:
        best = max(terms, key=lambda key: sum(left[term] for term in terms[key]))
        taken = tuple(terms.pop(best))
        folded.append(WholeWord(spelled[best], sum(left.pop(term) for term in taken), taken))
        rest = {key: {term: None for term in of if term in left} for key, of in terms.items()}
        terms = {key: of for key, of in rest.items() if of}
    folded += [WholeWord(None, weight, (term,)) for term, weight in left.items()]
    return sorted(folded, key=lambda whole: -whole.weight)


def highlights(words: Sequence[Word], weights: Mapping[int, float]) -> list[tuple[int, int, float]]:
    """Return (start, end, weight) of each word of a text that contains a term of `weights`, in order.

    `weights` are a query's: the weight is the sum over those of the word's terms that the query contains.
    """
    found = []
    for word in words:
        hit = [weights[term] for term in dict.fromkeys(word.term_ids) if term in weights]
        if hit:
            found.append((word.start, word.end, float(sum(hit))))
    return found
