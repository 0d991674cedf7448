"""The matched words of a hit: the matched terms, grouped by the words of the text.

An encoder's terms are stems and pieces of words, but readers think in words. The terms that a hit shares with the query
are folded into the words of its text (encoders/text/words.py): a word's contribution is the sum of its terms'
contributions. Each term counts once, so the words have the same total as the terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from encoders.encoder import Encoder
from encoders.text.words import whole_words
from lsr.documents import Document
from lsr.results import Hit, MatchedTerm


@dataclass(frozen=True, slots=True)
class MatchedWord:
    """A word of the document and its matched terms; `word` is None for a term that is in no word of the text."""

    word: str | None
    contribution: float
    terms: tuple[MatchedTerm, ...]


def words_of(encoder: Encoder | None, document: Document, matched: Sequence[MatchedTerm]) -> list[MatchedWord]:
    """Return the matched terms folded into the words of the document's text, by descending contribution.

    Without an encoder, as with ready-made vectors, each term stands alone.
    """
    if encoder is None:
        return [MatchedWord(None, term.contribution, (term,)) for term in matched]
    return _folded(encoder, document, matched)


def _folded(encoder: Encoder, document: Document, matched: Sequence[MatchedTerm]) -> list[MatchedWord]:
    numbers = encoder.vocabulary.ids([term.token for term in matched]).tolist()
    terms = dict(zip(numbers, matched, strict=True))
    text = document.full_text
    folded = whole_words(
        text, encoder.words(text, numbers), {number: term.contribution for number, term in terms.items()}
    )
    return [MatchedWord(one.word, one.weight, tuple(terms[number] for number in one.term_ids)) for one in folded]


def words_of_lists(
    find_encoder: Callable[[str], Encoder | None], hits: Sequence[Hit], most: int
) -> list[dict[str, list[MatchedWord]]]:
    """Return, for each hit, the words that each of its sparse lists matched, by the name of the vector."""
    found: list[dict[str, list[MatchedWord]]] = [{} for _ in hits]
    for using in dict.fromkeys(leg.using for hit in hits for leg in hit.legs if leg.matched):
        encoder = find_encoder(using)
        for at, hit in enumerate(hits):
            matched = next((leg.matched for leg in hit.legs if leg.using == using), ())
            found[at][using] = words_of(encoder, hit.document, matched[:most])
    return found
