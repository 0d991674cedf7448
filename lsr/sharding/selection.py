"""Which documents of a shard a search may find, as an expression that the shard evaluates.

In one process a search passes masks (lsr/search/rows.py). A mask is as long as the shard, so what is sent to a shard
is how to make it: the filter's JSON, the terms that a document must hold, rows by number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lsr.search.query_vectors import QueryVector
from lsr.search.rows import Allowed, Rows, RowSpace, ShouldStop


class Masks(Protocol):
    """What evaluates an expression: the rows of one shard."""

    @property
    def space(self) -> RowSpace:
        """The shard's rows."""
        ...

    def filtered(self, condition: Mapping[str, Any]) -> Allowed:
        """Return the mask of a filter."""
        ...


class Selection(Protocol):
    """An expression over one shard's documents."""

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:
        """Return its mask."""
        ...


@dataclass(frozen=True, slots=True)
class Everything:
    """All live documents."""

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:  # noqa: ARG002
        """Return its mask."""
        return masks.space.everything()


@dataclass(frozen=True, slots=True)
class Filtered:
    """The documents that a metadata filter matches."""

    condition: Mapping[str, Any]

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:  # noqa: ARG002
        """Return its mask."""
        return masks.filtered(self.condition)


@dataclass(frozen=True, slots=True)
class Only:
    """The documents of these rows, int64[n]."""

    rows: Rows

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:  # noqa: ARG002
        """Return its mask."""
        return masks.space.only(self.rows)


@dataclass(frozen=True, slots=True)
class Without:
    """The documents of `inner` but for these rows."""

    inner: Selection
    rows: Rows

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:
        """Return its mask."""
        return self.inner.allowed(masks, should_stop).without(masks.space, self.rows)


@dataclass(frozen=True, slots=True)
class Matching:
    """The documents of `inner` that share a term with a query; its weights do not count."""

    inner: Selection
    using: str
    term_ids: NDArray[np.int64]

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:
        """Return its mask."""
        query = QueryVector(self.term_ids, np.ones(len(self.term_ids), dtype=np.float32))
        return masks.space.matching(self.using, query, self.inner.allowed(masks, should_stop), should_stop)


@dataclass(frozen=True, slots=True)
class Both:
    """The documents that are in both."""

    one: Selection
    other: Selection

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:
        """Return its mask."""
        return self.one.allowed(masks, should_stop) & self.other.allowed(masks, should_stop)


@dataclass(frozen=True, slots=True)
class Either:
    """The documents that are in one of the two."""

    one: Selection
    other: Selection

    def allowed(self, masks: Masks, should_stop: ShouldStop | None) -> Allowed:
        """Return its mask."""
        return self.one.allowed(masks, should_stop) | self.other.allowed(masks, should_stop)
