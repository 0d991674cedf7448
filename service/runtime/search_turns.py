"""Decides where a search runs: in a thread or, if it is known to be short, in a turn of the event loop.

Passing a search to a thread and its answer back costs more than a short search
(docs/decisions/0305-overload-and-the-interpreter-lock.md). A search is short if the last searches of the same kind in
the same collection took, on a weighted average that favours the latest, less processor time than the limit, and hardly
waited for the disk. A search that a model must encode, or with a large request, is never short.

Each turn has a time limit: a search that is not done by then is stopped, and starts again in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import perf_counter, thread_time
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from index.errors import SearchStopped
from lsr.reading import Reader
from service.messages.search_requests import SearchRequest
from service.runtime.work_pool import WorkPool

_LATEST: Final = 1 / 16  # the weight of the latest search in the average
_UNKNOWN: Final = 2.0  # times the limit: the initial average, so that a kind is short after about 20 searches
_LONGEST: Final = 10.0  # times the limit: the most that one search counts, so that a kind can become short again
_WAITING: Final = 0.1  # the weight of a millisecond without processor use (waiting for a disk or a lock)
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
    """The properties, apart from the query's terms, that determine how long a search takes."""

    using: str
    is_text: bool
    has_params: bool
    is_filtered: bool
    shows_terms: bool
    shows_many: bool


_Costs = dict[_Kind, float]  # average milliseconds


class SearchTurns:
    """Runs searches; called on the event loop. Threads update the averages without a lock: an update may be lost."""

    def __init__(self, pool: WorkPool, quick_ms: float) -> None:
        """`quick_ms`: the processor time of a short search, in milliseconds; 0: every search runs in a thread."""
        self._pool = pool
        self._quick_ms = quick_ms
        self._costs: WeakKeyDictionary[Reader, _Costs] = WeakKeyDictionary()

    async def run(
        self,
        collection: Reader,
        request: SearchRequest,
        search: Callable[[float | None], bytes],
        timeout_ms: float,
    ) -> bytes:
        """Return what `search` returns; its argument is its time limit in milliseconds (then it must raise
        SearchStopped), or None.

        Raises Overloaded, TimedOut if no thread or turn was free within `timeout_ms`, and what `search` raises.
        """
        kind = _kind(request)
        if kind is None or not self._quick_ms or collection.waits_for_others:
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

    def forget(self, collection: Reader) -> None:
        """Forget the averages of a collection whose content was replaced."""
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
        has_params=bool(request.params and request.params.model_fields_set),
        is_filtered=request.filter is not None,
        shows_terms=request.highlight or request.explanation is not None,
        shows_many=request.k > _FEW_HITS,
    )
