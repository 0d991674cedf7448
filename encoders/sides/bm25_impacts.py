"""BM25's impacts over a model's word pieces, from which literal and pooled sides start.

    impact[v] = tf / (tf + k1 * (1 - b + b * length / average_length))

tf and length are those of the whole text without special tokens; with `conflate`, tf counts all tokens of a term.
The key of a term in a text is row * n_terms + term, so that a batch's impacts are two flat arrays in ascending order.
"""

from __future__ import annotations

import torch
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
        self._special = torch.tensor(sorted(tokenization.special_ids), dtype=torch.int64)
        self._terms = tokenization.terms
        self._n_terms = n_terms

    def __call__(self, ids: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return the key of each distinct ordinary term, int64 ascending, and its impact, float32; `ids` are whole
        texts."""
        flat, _ = self.keys(ids)
        keys, frequencies = torch.unique(flat, return_counts=True)
        lengths = torch.bincount(flat // self._n_terms, minlength=len(ids))
        saturation = self._k1 * (1.0 - self._b + self._b * lengths.double() / self._average_length)
        return keys, (frequencies / (frequencies + saturation[keys // self._n_terms])).float()

    def keys(self, ids: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return the key of each ordinary token in the order of the texts, int64, and their mask over all tokens."""
        tokens = torch.tensor([term for one in ids for term in self._terms(one)], dtype=torch.int64)
        rows = torch.repeat_interleave(torch.arange(len(ids)), torch.tensor([len(one) for one in ids]))
        ordinary = ~torch.isin(tokens, self._special)
        return (rows * self._n_terms + tokens)[ordinary], ordinary
