"""Where a search runs: in a thread, or, when it is known to be short, in a turn of the event loop.

Handing a search to a thread and its answer back costs more than a short search (decision 0305). What is short is
known from the last searches of the same kind in the same collection: as many as `_SAMPLE`, one after the other, took
less than the limit of processor time, and did not wait for a disk. One that does not sends its kind back to the
threads until as many have been short again. Never short is what a model must encode, and what is large by its request.

A turn is bounded whatever was expected: a search that is not done by then is stopped, and begins again in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from index.errors import SearchStopped
from lsr.collection import Collection
from service.requests import SearchRequest
from service.work_pool import WorkPool

_SAMPLE: Final = 16
_WAITING: Final = 10  # times the limit, in wall time: more is a disk that is read, or a lock that is held
_TURN_MS: Final = 20.0
_FEW_HITS: Final = 10
_MOST_HITS: Final = 100
_MOST_CHARACTERS: Final = 1_000
_MOST_TERMS: Final = 100


class _Kind(NamedTuple):
    """What decides, apart from the query's terms, how long a search takes."""

    using: str
    is_text: bool
    has_params: bool
    is_filtered: bool
    shows_terms: bool
    shows_many: bool


_Short = dict[_Kind, int]  # how many of a kind have been short, one after the other; at most _SAMPLE


class SearchTurns:
    """Runs searches. Used on the event loop only, but for `forget`."""

    def __init__(self, pool: WorkPool, quick_ms: float) -> None:
        """`quick_ms` of processor time is what a search may take to be short; 0: every search runs in a thread."""
        self._pool = pool
        self._quick_ms = quick_ms
        self._short: WeakKeyDictionary[Collection, _Short] = WeakKeyDictionary()

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
        short = self._short.setdefault(collection, {})

        def measured(limit_ms: float | None) -> bytes:
            began, used = perf_counter(), thread_time()
            answer = search(limit_ms)
            used_ms, took_ms = (thread_time() - used) * 1000.0, (perf_counter() - began) * 1000.0
            is_short = used_ms <= self._quick_ms and took_ms <= _WAITING * self._quick_ms
            if is_short and kind.is_text:
                is_short = collection.encoder(kind.using).looks_queries_up
            short[kind] = min(short.get(kind, 0) + 1, _SAMPLE) if is_short else 0
            return answer

        if short.get(kind, 0) >= _SAMPLE:
            try:
                return await self._pool.take_turn(lambda: measured(_TURN_MS), timeout_ms=timeout_ms)
            except SearchStopped:
                short[kind] = 0
        return await self._pool.run(lambda: measured(None), timeout_ms=timeout_ms)

    def forget(self, collection: Collection) -> None:
        """Measure anew: the collection's content is another one."""
        self._short.pop(collection, None)


def _kind(request: SearchRequest) -> _Kind | None:
    """Return the kind of a search that may be short; None for one that is too large for that."""
    if request.k > _MOST_HITS or len(request.query.text or "") > _MOST_CHARACTERS:
        return None
    sparse = request.query.sparse or {}
    # By token the terms are its keys; by index there are two lists.
    if len(sparse) > _MOST_TERMS or any(isinstance(part, list) and len(part) > _MOST_TERMS for part in sparse.values()):
        return None
    return _Kind(
        using=request.using,
        is_text=request.query.text is not None,
        has_params=bool(request.params.model_fields_set),
        is_filtered=request.filter is not None,
        shows_terms=request.highlight or request.explain is not None,
        shows_many=request.k > _FEW_HITS,
    )
