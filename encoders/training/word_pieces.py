"""Statistics before the first step: the length of documents, and the weight of each term in a query.

    weight[v] = ln(1 + (N - df + 0.5) / (df + 0.5))      times `piece_weight` for a piece within a word ("##lation")
              = 0                                        for punctuation, Lucene's stop words, other tokens than terms

A rare word that is split into five pieces would count five times as much as a rare word that is one piece; the factor
reduces that. Punctuation must have no weight: in abstracts a question mark is rare, and a question would find it first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.errors import SettingError
from encoders.text.analysis import STOP_WORDS
from encoders.text.tokenization import Tokenization

_WITHIN = "##"
_RAREST = 1e-7  # share of texts


def piece_statistics(tokenization: Tokenization, texts: Sequence[str]) -> tuple[float, NDArray[np.int64]]:
    """Return the mean number of ordinary word pieces per text, and the number of texts with each term.

    The second is int64 [n_terms]. Raises SettingError without a text.
    """
    if not texts:
        raise SettingError("there is no text to count word pieces in")
    frequencies = np.zeros(len(tokenization.tokens), dtype=np.int64)
    special = tokenization.special_ids
    total = 0
    for start in range(0, len(texts), 1024):
        for one in tokenization.ids(texts[start : start + 1024], special_tokens=False, truncate=False):
            ordinary = [term for term in tokenization.terms(one) if term not in special]
            total += len(ordinary)
            frequencies[list(set(ordinary))] += 1
    return max(total / len(texts), 1.0), frequencies


def idf_of(frequencies: NDArray[np.int64], n_texts: int) -> NDArray[np.float32]:
    """Return ln(1 + (N - df + 0.5) / (df + 0.5)), float32: BM25's idf, largest for a piece in no text."""
    idf: NDArray[np.float32] = np.log1p((n_texts - frequencies + 0.5) / (frequencies + 0.5)).astype(np.float32)
    return idf


def idf_of_terms(tokenization: Tokenization, idf: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each term's idf, float32 [n_terms], from that of each token, as if no text had two tokens of a term."""
    of_tokens = np.exp(-idf.astype(np.float64))
    shares = np.bincount(tokenization.terms(range(len(idf))), weights=of_tokens, minlength=len(idf))
    return -np.log(np.clip(shares, _RAREST, 1.0)).astype(np.float32)


def query_weights(tokenization: Tokenization, idf: NDArray[np.float32], piece_weight: float) -> NDArray[np.float32]:
    """Return the weight of each term in a query at the start, float32 [n_terms]."""
    tokens = tokenization.tokens
    weights = idf.copy()
    weights[[i for i, token in enumerate(tokens) if token.startswith(_WITHIN)]] *= piece_weight
    weights[[i for i, token in enumerate(tokens) if token in STOP_WORDS or not any(map(str.isalnum, token))]] = 0.0
    weights[np.asarray(tokenization.terms(range(len(tokens)))) != np.arange(len(tokens))] = 0.0
    return weights
