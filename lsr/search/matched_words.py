"""What matched, word by word: the pieces of a word explained together.

An encoder's terms are stems and pieces of words; a reader asks why a document was found and thinks in words. The terms
that a hit shares with the query are folded into the words of its text (encoders.words): the contributions of a word's
terms are added up, and each term counts once, so that the words add up to what the terms add up to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from encoders.encoder import Encoder
from encoders.text.words import whole_words
from lsr.documents import Document
from lsr.results import Hit, MatchedTerm


@dataclass(frozen=True, slots=True)
class MatchedWord:
    """A word of the document and those of its terms that matched; `word` is None for a term that no word holds."""

    word: str | None
    contribution: float
    terms: tuple[MatchedTerm, ...]


def matched_words(encoder: Encoder | None, hits: Sequence[Hit], most: int) -> list[list[MatchedWord]]:
    """Return, for each hit, the first `most` terms of `matched` folded into the words of its text, by descending
    contribution. Without an encoder, as with ready-made vectors, each term stands alone."""
    if encoder is None:
        return [[MatchedWord(None, term.contribution, (term,)) for term in hit.matched[:most]] for hit in hits]
    return [_folded(encoder, hit.document, hit.matched[:most]) for hit in hits]


def _folded(encoder: Encoder, document: Document, matched: Sequence[MatchedTerm]) -> list[MatchedWord]:
    numbers = encoder.vocabulary.ids([term.token for term in matched]).tolist()
    terms = dict(zip(numbers, matched, strict=True))
    text = document.full_text
    folded = whole_words(
        text, encoder.words(text, numbers), {number: term.contribution for number, term in terms.items()}
    )
    return [MatchedWord(one.word, one.weight, tuple(terms[number] for number in one.term_ids)) for one in folded]
