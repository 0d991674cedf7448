"""BM25's impacts over a model's word pieces, from which literal and pooled sides start.

    impact[v] = tf / (tf + k1 * (1 - b + b * length / average_length))

tf and length are those of the whole text without special tokens; with `conflate`, tf counts all tokens of a term.
The key of a term in a text is row * n_terms + term, so that a batch's impacts are two flat arrays in ascending order.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.errors import SettingError
from encoders.settings import SideSettings
from encoders.text.tokenization import Tokenization


class BM25Impacts:
    """Token ids to impacts."""

    def __init__(self, settings: SideSettings, tokenization: Tokenization, n_terms: int) -> None:
        """Raises SettingError without average_length."""
        if settings.average_length is None:
            raise SettingError(
                f"a {settings.family} side needs average_length: the mean number of word pieces in a document"
            )
        self._k1, self._b, self._average_length = settings.k1, settings.b, settings.average_length
        tokens = range(len(tokenization.tokens))
        self._term_of = np.array(tokenization.terms(tokens), dtype=np.int64)  # of each token
        self._ordinary = np.ones(len(tokens), dtype=np.bool_)  # by term
        self._ordinary[sorted(tokenization.special_ids)] = False
        self._n_terms = n_terms

    def __call__(self, ids: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return the key of each distinct ordinary term, int64 ascending, and its impact, float32; `ids` are whole
        texts."""
        flat, _ = self._keys(ids)
        keys, frequencies = np.unique(flat, return_counts=True)
        lengths = np.bincount(flat // self._n_terms, minlength=len(ids))
        saturation = self._k1 * (1.0 - self._b + self._b * lengths / self._average_length)
        impacts = frequencies / (frequencies + saturation[keys // self._n_terms])
        return torch.from_numpy(keys), torch.from_numpy(impacts.astype(np.float32))

    def keys(self, ids: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return the key of each ordinary token in the order of the texts, int64, and their mask over all tokens."""
        keys, ordinary = self._keys(ids)
        return torch.from_numpy(keys), torch.from_numpy(ordinary)

    def _keys(self, ids: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        terms = self._term_of[np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))]
        ordinary = self._ordinary[terms]
        keys = np.repeat(np.arange(len(ids)) * self._n_terms, lengths) + terms
        return keys[ordinary], ordinary
