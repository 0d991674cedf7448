"""The named vectors and the search defaults that a new collection gets when nothing else is asked for.

lsr-mini makes a dense vector on the way to its sparse one. Its sparse vector and BM25's find, the dense vector
rescores: together they rank better than each alone (decision 0309 has the measurements). Any other encoder ranks alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lsr import settings as lsr_settings
from lsr.documents import DEFAULT_VECTOR
from lsr.vectors import VectorConfig

ENCODER: Final = "lsr-mini"  # the one that the weights were measured with
BM25: Final = "bm25"
MEANING: Final = "meaning"
PIPELINE: Final[Mapping[str, Any]] = {
    "queries": [{"using": DEFAULT_VECTOR}, {"using": BM25}],
    "method": "scaled",
    "weights": [1, 1],
    "rescore": {"using": MEANING, "candidates": 100, "weight": 5},
}


def vectors_for(encoder: str | None = None, settings: Mapping[str, Any] | None = None) -> dict[str, VectorConfig]:
    """Return the named vectors of a new collection whose texts `encoder` reads; None: the default encoder."""
    encoder = encoder or lsr_settings.DEFAULT_ENCODER
    first = {DEFAULT_VECTOR: VectorConfig(encoder, settings or {})}
    if encoder != ENCODER:
        return first
    return {**first, BM25: VectorConfig(BM25), MEANING: VectorConfig(encoder, settings or {}, dense=True)}


def defaults_for(vectors: Mapping[str, VectorConfig]) -> Mapping[str, Any] | None:
    """Return the search defaults of a collection with these vectors: the pipeline if all of its vectors exist."""
    own = vectors.get(DEFAULT_VECTOR)
    dense, lexical = vectors.get(MEANING), vectors.get(BM25)
    complete = (
        own is not None
        and own.encoder == ENCODER
        and lexical is not None
        and lexical.encoder == BM25
        and dense is not None
        and dense.dense
        and dense.encoder == ENCODER
    )
    return PIPELINE if complete else None
