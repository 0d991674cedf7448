"""The forms of a word share a term: the query "cell" finds a text with "cells", though the vocabulary has both tokens.

A word-piece vocabulary contains the frequent forms of a word as separate tokens, and a query without expansion finds
only its own form. With the setting `conflate`, whole-word tokens with one stem, by BM25's analysis, are one term: the
first of them, which in BERT's vocabulary is the most frequent. Every other token is its own term. The model still
reads tokens; weights, queries and highlights use terms. The rule follows from the vocabulary, so only its version is
stored, with the settings of a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.text.analysis import terms_of

RULE = 1  # change it when the term of a token changes
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
