"""Forms of one word share a term: a text that says "cells" is found by "cell", in a vocabulary that has both.

A word-piece vocabulary holds the frequent forms of a word as pieces of their own, and a query that is only its own
tokens finds none but its own form. With the setting `conflate`, whole-word pieces of one stem, by the analysis that
BM25 uses here, are one term: the first of them, which in BERT's vocabulary is the most frequent. Every other piece is
its own term. The model still reads the tokens; terms are what its weights, a query and a highlight are about. The rule
follows from the vocabulary, so its version alone is stored, with the settings of a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.text.analysis import terms_of

RULE = 1  # change it when a token gets another term
_SHORTEST = 3  # letters


def conflated_terms(tokens: Sequence[str]) -> NDArray[np.int64]:
    """Return the term of each token of a vocabulary, int64 [len(tokens)]; a term is the number of its first token."""
    terms = np.arange(len(tokens), dtype=np.int64)
    numbers = [n for n, token in enumerate(tokens) if len(token) >= _SHORTEST and token.isascii() and token.isalpha()]
    first: dict[str, int] = {}
    for number, stem in zip(numbers, terms_of([tokens[n].lower() for n in numbers]), strict=True):
        if stem:  # a stop word has none
            terms[number] = first.setdefault(stem, number)
    return terms
