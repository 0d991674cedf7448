"""From the sources of a checkpoint to its two sides. torch is imported only if a model has to be read now.

Where queries are looked up in a table, the document model is read when the first document is encoded
(encoders.sides.deferred). Its small files are checked at once: tokenizer, length, number of terms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from encoders.checkpoints.files import read_object
from encoders.checkpoints.sources import SideSource, Sources
from encoders.checkpoints.static_weights import read_static_weights
from encoders.checkpoints.vocabularies import (
    load_tokenizer,
    named_terms,
    settings_in_force,
    term_count,
    tokenization_of,
)
from encoders.errors import CheckpointError
from encoders.settings import Family
from encoders.sides.deferred import DeferredSide
from encoders.sides.side import Side
from encoders.sides.static import StaticSide
from encoders.text.tokenization import Tokenization

if TYPE_CHECKING:
    from encoders.checkpoints.builder import Builder


class Sides(NamedTuple):
    """Both sides of an encoder, and the terms of the vocabulary that they share."""

    queries: Side
    documents: Side | DeferredSide
    terms: list[str]


def build_sides(
    sources: Sources, builder: Callable[[], Builder], *, defer: bool = True, separate: bool = False
) -> Sides:
    """Return the sides; `builder` is called when a model has to be read; without `defer`, at once.

    With `separate`, equal sources give two sides. Raises CheckpointError, SettingError, and what `builder` raises.
    """
    documents = _Part(sources.documents)
    if sources.queries == sources.documents and not separate:
        side, terms = _build(documents, None, builder)
        return Sides(side, side, terms)
    queries = _Part(sources.queries)
    document_side: Side | DeferredSide
    deferred = _defer(documents, queries, builder) if defer and queries.is_static else None
    if documents.is_narrow and not queries.is_narrow:  # the vocabulary head decides the number of terms
        query_side, query_terms = _build(queries, None, builder)
        document_side, terms = _build(documents, query_terms, builder)
    else:
        document_side, terms = deferred or _build(documents, None, builder)
        query_side, query_terms = _build(queries, terms, builder)
    if query_terms != terms:
        raise CheckpointError(
            f"the vocabularies of the query side ({sources.queries.folder}, {len(query_terms)} terms) and the "
            f"document side ({sources.documents.folder}, {len(terms)} terms) are not the same"
        )
    return Sides(query_side, document_side, terms)


class _Part:
    """One side's source with its tokenizer, and the settings in force."""

    def __init__(self, source: SideSource) -> None:
        self.source = source
        self.tokenizer = load_tokenizer(source)
        self.settings = settings_in_force(source, self.tokenizer)
        self.is_static = source.settings.family is Family.STATIC
        # One weight per token: the other side's vocabulary head may have more terms, which have no token.
        self.is_narrow = self.is_static or source.settings.family is Family.MLP

    @cached_property
    def tokenization(self) -> Tokenization:
        return tokenization_of(self.tokenizer, self.settings)


def _build(part: _Part, other_terms: list[str] | None, builder: Callable[[], Builder]) -> tuple[Side, list[str]]:
    """Return the side and its terms; a static side is as wide as the other side, whose terms are given."""
    if not part.is_static:
        return builder().side(part.source, part.settings, part.tokenization, other_terms)
    tokens = part.tokenization.tokens
    terms = named_terms(part.source, tokens, len(other_terms or tokens))
    if part.source.static_weights is None:
        return StaticSide(part.tokenization, part.settings, np.ones(len(terms), dtype=np.float32)), terms
    tables = read_static_weights(part.source.static_weights, terms, part.source.settings.missing_weight)
    return StaticSide(part.tokenization, part.settings, *tables), terms


def _defer(part: _Part, queries: _Part, builder: Callable[[], Builder]) -> tuple[DeferredSide, list[str]] | None:
    """Return the deferred side and its terms; None where only the model knows their number."""
    same = part.tokenizer.content == queries.tokenizer.content
    tokens = (queries if same else part).tokenization.tokens
    count = len(tokens) if part.settings.family is Family.MLP else term_count(part.source)
    if count is None:
        return None
    terms = named_terms(part.source, tokens, count)

    def build(tokenization: Tokenization) -> Side:
        side, found = builder().side(part.source, part.settings, tokenization, None)
        if found != terms:
            raise CheckpointError(
                f"{part.source.folder}: the model has {len(found)} terms, but its small files say {len(terms)}"
            )
        return side

    size = _dense_size(part.source) if part.settings.family is Family.POOLED else None
    return DeferredSide(part.settings, lambda: part.tokenization, build, dense_size=size), terms


def _dense_size(source: SideSource) -> int | None:
    """Return how many numbers the pooled vector has, from the model's config.json."""
    size = read_object(source.folder / "config.json").get("hidden_size")
    return size if isinstance(size, int) else None
