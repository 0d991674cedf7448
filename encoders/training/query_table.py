"""The query side with which literal and pooled training start: a table of weights, which training may change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.settings import Family, SideSettings
from encoders.sides.static import StaticSide
from encoders.text.tokenization import Tokenization
from encoders.text.tokenizer import LoadedTokenizer


@dataclass(frozen=True)
class QueryTable:
    """weights     float32 [n_terms], of a query's terms; those of special tokens are set to 0
    idf            float32 [n_terms], of the texts that training sees; None: not kept
    collection_idf how far weights are adjusted to the idf of the searched collection (encoders.sides.static)
    saturation     BM25's k1 of a term that a query repeats: n times it counts n / (n + k1); 0: as often as once
    """

    weights: NDArray[np.float32]
    idf: NDArray[np.float32] | None = None
    collection_idf: float = 0.0
    saturation: float = 0.0

    def side(self, tokenizer: LoadedTokenizer, documents: SideSettings) -> StaticSide:
        """Return the query side for a document side with these settings; raises SettingError."""
        tokenization = Tokenization(tokenizer, None, lower_case=documents.lower_case, conflate=documents.conflate)
        settings = SideSettings(
            family=Family.STATIC,
            zero_special_ids=True,
            conflate=documents.conflate,
            collection_idf=self.collection_idf,
        )
        if self.saturation:  # a query's length is no reason to count its terms less
            settings = dataclasses.replace(settings, term_frequency=True, k1=self.saturation, b=0.0, average_length=1.0)
        return StaticSide(tokenization, settings, self.weights, self.idf)
