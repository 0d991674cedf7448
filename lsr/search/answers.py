"""The searches of one open collection: new ones, further pages of earlier ones, and answers that are kept.

What is kept belongs to the collection's present content: `forget` drops it when that is replaced as a whole.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index import SearchParameters
from lsr.results import CacheCounts, CacheLookups, SearchResult, Timings
from lsr.search.cache import ENCODING_BYTES, RESULT_BYTES, BoundedCache, size_of
from lsr.search.page import page
from lsr.search.paging import Cursors, cursor_to
from lsr.search.pipeline import answer, dense_query, search
from lsr.search.plan import Searched
from lsr.search.ranked import Answered
from lsr.search.request import Query, RankingOptions, request_key
from lsr.search.semantic_cache import Policy, SemanticCache, category_of


class Answers:
    """Answers searches of a collection. Safe to use from many threads."""

    def __init__(self) -> None:
        self.results: BoundedCache[SearchResult] = BoundedCache(RESULT_BYTES)
        self.encodings: BoundedCache[Any] = BoundedCache(ENCODING_BYTES)
        self.semantic = SemanticCache()
        self.cursors = Cursors()

    def search(
        self,
        searched: Searched,
        query: Query,
        options: RankingOptions,
        parameters: SearchParameters,
        timeout_ms: float | None,
        scope: str = "",
    ) -> SearchResult:
        """Return hits; raises what `pipeline.search` raises, and CursorGone.

        scope  what else must be the same for an answer to be given twice: the caller's rights
        """
        if options.cursor:
            return self._paged(searched, query, options, parameters, timeout_ms, scope)
        if not options.cache or _depends_on_now(options):
            return search(searched, query, options, parameters, timeout_ms)
        content = _content_key(searched)
        key = (content, scope, *request_key(query, options, parameters))
        began = time.perf_counter()
        if (found := self.results.get(key)) is not None:
            return _kept(found, began)
        near = self._near(searched, query, options, parameters, (content, scope))
        if near is not None and (found := near.find()) is not None:
            return _kept(found, began)
        result = search(searched, query, options, parameters, timeout_ms)
        if not result.partial:
            self.results.put(key, result, size_of(result))
            if near is not None:
                near.put(result)
        return result

    def forget(self) -> None:
        """Drop everything that is kept."""
        self.results.clear()
        self.encodings.clear()
        self.semantic.clear()
        self.cursors.clear()

    def counts(self) -> CacheCounts:
        """Return what the caches did since the collection was opened."""
        caches = {"results": self.results, "encodings": self.encodings}
        lookups = [CacheLookups(name, "", one.hits, one.misses) for name, one in caches.items()]
        near = self.semantic
        lookups += [
            CacheLookups("near", category, near.hits.get(category, 0), near.misses.get(category, 0))
            for category in sorted({*near.hits, *near.misses})
        ]
        return CacheCounts(tuple(lookups), {name: one.bytes for name, one in caches.items()})

    def _paged(
        self,
        searched: Searched,
        query: Query,
        options: RankingOptions,
        parameters: SearchParameters,
        timeout_ms: float | None,
        scope: str,
    ) -> SearchResult:
        """Return the first page, or the one that the cursor names; pages may differ in length."""
        request = (scope, *request_key(query, replace(options, k=1), parameters))
        if isinstance(options.cursor, str):
            (of_then, answered), name, start = self.cursors.find(options.cursor, request)
            return self._page(of_then, answered, options, name, start)
        answered = answer(searched, query, options, parameters, timeout_ms)
        if answered.partial:
            return page(searched, answered, options, 0)
        name = self.cursors.keep((searched, answered), request)
        return self._page(searched, answered, options, name, 0)

    def _near(
        self,
        searched: Searched,
        query: Query,
        options: RankingOptions,
        parameters: SearchParameters,
        shared: tuple[Hashable, ...],
    ) -> _Near | None:
        """Return where answers of near queries are kept, None where that is not asked for."""
        caching, rescore = searched.defaults.cache, searched.defaults.rescore
        if caching is None or rescore is None or options.using is not None or not isinstance(query, str):
            return None
        category = category_of(options.filter, caching.field_name)
        if category is None or not query.strip() or not searched.dense[rescore.using].can_encode:
            return None
        key = (*shared, *request_key("", options, parameters))
        vector = dense_query(searched, rescore.using, query)
        return _Near(self.semantic, category, caching.of(category), key, query, vector)

    def _page(
        self, searched: Searched, answered: Answered, options: RankingOptions, name: str, start: int
    ) -> SearchResult:
        result = page(searched, answered, options, start)
        following = start + options.k
        return replace(result, next_cursor=cursor_to(name, following) if following < len(answered.kept) else None)


class _Near(NamedTuple):
    """One query's place in the semantic cache."""

    cache: SemanticCache
    category: str
    policy: Policy
    key: Hashable
    text: str
    vector: NDArray[np.float32]

    def find(self) -> SearchResult | None:
        return self.cache.find(self.category, self.policy, self.key, self.vector)

    def put(self, result: SearchResult) -> None:
        self.cache.put(self.category, self.policy, self.key, self.text, self.vector, result)


def _kept(result: SearchResult, began: float) -> SearchResult:
    """Return a kept answer with the time that finding it took, not that of the search which computed it."""
    took = (time.perf_counter() - began) * 1e3
    return replace(result, timings=Timings(encode=0.0, search=took, fetch=0.0))


def _content_key(searched: Searched) -> Hashable:
    """What answers depend on besides the request: every acknowledged write, the encoders, the defaults."""
    fingerprints = tuple(vector.fingerprint for vector in searched.vectors.values())
    dense = tuple(vector.fingerprint for vector in searched.dense.values())
    return searched.generation.seq, len(searched.generation.damage), fingerprints, dense, repr(searched.defaults)


def _depends_on_now(options: RankingOptions) -> bool:
    return any(boost.half_life_days is not None and boost.now is None for boost in options.boosts)
