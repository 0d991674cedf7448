"""The searches of one open collection: new ones, further pages of earlier ones, and answers that are kept.

What is kept belongs to the collection's present content: `forget` drops it when that is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from index import SearchParameters
from lsr.results import SearchResult
from lsr.search.cache import RESULT_BYTES, BoundedCache, size_of
from lsr.search.page import page
from lsr.search.paging import Cursors, cursor_to
from lsr.search.pipeline import answer
from lsr.search.plan import Searched
from lsr.search.ranked import Answered
from lsr.search.request import Query, RankingOptions, request_key


class Answers:
    """Answers searches of a collection. Safe to use from many threads."""

    def __init__(self) -> None:
        self.results: BoundedCache[SearchResult] = BoundedCache(RESULT_BYTES)
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
        request = (scope, *request_key(query, options, parameters))
        if isinstance(options.cursor, str):
            kept, name, start = self.cursors.find(options.cursor, request)
            of_then, answered = kept
            return self._page(of_then, answered, options, name, start)
        cacheable = options.cache and options.cursor is False and not _depends_on_now(options)
        key = (_content_key(searched), request) if cacheable else None
        if cacheable and (found := self.results.get(key)) is not None:
            return found
        answered = answer(searched, query, options, parameters, timeout_ms)
        if options.cursor and not answered.partial:
            name = self.cursors.keep((searched, answered), request)
            return self._page(searched, answered, options, name, 0)
        result = page(searched, answered, options, 0)
        if cacheable and not result.partial:
            self.results.put(key, result, size_of(result))
        return result

    def forget(self) -> None:
        """Drop everything that is kept."""
        self.results.clear()
        self.cursors.clear()

    def _page(
        self, searched: Searched, answered: Answered, options: RankingOptions, name: str, start: int
    ) -> SearchResult:
        result = page(searched, answered, options, start)
        following = start + options.k
        return replace(result, next_cursor=cursor_to(name, following) if following < len(answered.kept) else None)


def _content_key(searched: Searched) -> Hashable:
    """What answers depend on besides the request: every acknowledged write, the encoders, the defaults."""
    fingerprints = tuple(vector.fingerprint for vector in searched.vectors.values())
    dense = tuple(vector.fingerprint for vector in searched.dense.values())
    return searched.generation.seq, len(searched.generation.damage), fingerprints, dense, repr(searched.defaults)


def _depends_on_now(options: RankingOptions) -> bool:
    return any(boost.half_life_days is not None and boost.now is None for boost in options.boosts)
