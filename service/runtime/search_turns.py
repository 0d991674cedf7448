"""Where a search runs: in a thread, or, when it is known to be short, in a turn of the event loop.

Handing a search to a thread and its answer back costs more than a short search (decision 0305). What is short is
known from the last searches of the same kind in the same collection: on average, the latest counting most, they took
less than the limit of processor time, and hardly waited for a disk. Never short is what a model must encode, and what
is large by its request.

A turn is bounded whatever was expected: a search that is not done by then is stopped, and begins again in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import perf_counter, thread_time
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from index.errors import SearchStopped
from lsr.collection import Collection
from service.messages.search_requests import SearchRequest
from service.runtime.work_pool import WorkPool

_LATEST: Final = 1 / 16  # what one search counts in the average
_UNKNOWN: Final = 2.0  # times the limit: what the average begins with, so that it takes some 20 searches to be short
_LONGEST: Final = 10.0  # times the limit: what the longest search counts as, so that a kind can come back
_WAITING: Final = 0.1  # what a millisecond counts in which the processor was not used: for a disk, or for a lock
_TURN_MS: Final = 20.0
_FEW_HITS: Final = 10
_MOST_HITS: Final = 100
_MOST_CHARACTERS: Final = 1_000
_MOST_TERMS: Final = 100
# Fields that make a search longer than its kind.
_LONG: Final = frozenset(
    {"must", "prf", "facets", "total", "sort", "boosts", "group_by", "collapse", "neighbours", "cursor"}
)


class _Kind(NamedTuple):
    """What decides, apart from the query's terms, how long a search takes."""

    using: str
    is_text: bool
    has_params: bool
    is_filtered: bool
    shows_terms: bool
    shows_many: bool


_Costs = dict[_Kind, float]  # average milliseconds


class SearchTurns:
    """Runs searches, asked to on the event loop. Threads note what theirs took; an average may well miss one."""

    def __init__(self, pool: WorkPool, quick_ms: float) -> None:
        """`quick_ms` of processor time is what a search may take to be short; 0: every search runs in a thread."""
        self._pool = pool
        self._quick_ms = quick_ms
        self._costs: WeakKeyDictionary[Collection, _Costs] = WeakKeyDictionary()

    async def run(
        self,
        collection: Collection,
        request: SearchRequest,
        search: Callable[[float | None], bytes],
        timeout_ms: float,
    ) -> bytes:
        """Return what `search` returns; it is given the milliseconds after which it must raise SearchStopped, or None.

        Raises Overloaded, TimedOut when no thread or turn was free within `timeout_ms`, and what `search` raises.
        """
        kind = _kind(request)
        if kind is None or not self._quick_ms:
            return await self._pool.run(lambda: search(None), timeout_ms=timeout_ms)
        costs = self._costs.setdefault(collection, {})

        def measured(limit_ms: float | None) -> bytes:
            began, used = perf_counter(), thread_time()
            answer = search(limit_ms)
            used_ms, took_ms = (thread_time() - used) * 1000.0, (perf_counter() - began) * 1000.0
            if kind.is_text and not collection.looks_queries_up(kind.using or None):
                self._note(costs, kind, inf)
            else:
                self._note(costs, kind, max(used_ms, took_ms * _WAITING))
            return answer

        if costs.get(kind, inf) <= self._quick_ms:
            try:
                return await self._pool.take_turn(lambda: measured(_TURN_MS), timeout_ms=timeout_ms)
            except SearchStopped:
                self._note(costs, kind, inf)
        return await self._pool.run(lambda: measured(None), timeout_ms=timeout_ms)

    def forget(self, collection: Collection) -> None:
        """Measure anew: the collection's content is another one."""
        self._costs.pop(collection, None)

    def _note(self, costs: _Costs, kind: _Kind, cost: float) -> None:
        average = costs.get(kind, _UNKNOWN * self._quick_ms)
        costs[kind] = average + (min(cost, _LONGEST * self._quick_ms) - average) * _LATEST


def _kind(request: SearchRequest) -> _Kind | None:
    """Return the kind of a search that may be short; None for one that is too large for that."""
    if request.model_fields_set & _LONG:
        return None
    if request.query.like is not None or request.query.fusion is not None:
        return None
    if request.k > _MOST_HITS or len(request.query.text or "") > _MOST_CHARACTERS:
        return None
    sparse = request.query.sparse or {}
    # By token the terms are its keys; by index there are two lists.
    if len(sparse) > _MOST_TERMS or any(isinstance(part, list) and len(part) > _MOST_TERMS for part in sparse.values()):
        return None
    return _Kind(
        using=request.using or "",
        is_text=request.query.text is not None,
        has_params=bool(request.params.model_fields_set),
        is_filtered=request.filter is not None,
        shows_terms=request.highlight or request.explain is not None,
        shows_many=request.k > _FEW_HITS,
    )
