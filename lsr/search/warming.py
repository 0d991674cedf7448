"""Warming up for the first search: load encoders, compile kernels, touch files, run filters once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from index import SearchParameters, warm_kernels
from lsr.documents import SparseByToken, SparseInput
from lsr.metadata import FieldType
from lsr.search.defaults import defaults_of
from lsr.search.pipeline import search
from lsr.search.plan import Searched
from lsr.search.request import RankingOptions
from lsr.storage.generation import Generation, Place
from lsr.storage.live_state import LiveState
from lsr.vectors import NamedVector

_VALUES: dict[FieldType, Any] = {
    "int": 1,
    "float": 1.0,
    "bool": True,
    "keyword": "x",
    "keyword[]": "x",
    "date": "2020-01-01",
}


def warm(state: LiveState) -> None:
    """Run every search path of this collection once, also the paths that a later seal needs."""
    warm_kernels()
    generation = state.generation
    searched = Searched(generation, state.vectors, state.dense, defaults_of(state))
    for name, vector in state.vectors.items():
        for view in generation.segments:
            view.segment.indexes[name].warm()
        for query in _queries(generation, vector):
            for exact in (False, True):
                for condition in (None, _condition(generation)):
                    options = RankingOptions(using=name, k=3, filter=condition, explain_terms=3)
                    search(searched, query, options, SearchParameters(exact=exact), None)
    if not searched.defaults.is_plain and any(vector.config.encoder is not None for vector in state.vectors.values()):
        search(searched, "warm", RankingOptions(k=3), SearchParameters(), None)


def _queries(generation: Generation, vector: NamedVector) -> Iterator[str | SparseInput]:
    """Yield a text, if there is an encoder, and a term that a document has, so that hits are fetched."""
    if vector.config.encoder is not None:
        yield "warm"
    place = next(_places(generation), None)
    if place is not None:
        term_ids, _ = place.vector(vector.name)
        if len(term_ids):
            yield SparseByToken({vector.vocabulary.tokens(term_ids[:1])[0]: 1.0})


def _places(generation: Generation) -> Iterator[Place]:
    for view in generation.segments:
        if len(view.segment):
            yield Place(view, 0)
    for chunk in generation.pending.chunks:
        yield Place(chunk, 0)


def _condition(generation: Generation) -> dict[str, Any]:
    """Return a filter that reads every column and accepts most documents."""
    touched = [{name: _VALUES[kind]} for name, kind in generation.schema.fields.items()]
    return {"or": [*touched, {"not": {"and": touched}}]} if touched else {}
