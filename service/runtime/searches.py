"""One search, from the checked request to the JSON of the answer. Where it runs is search_turns.py's business."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, Final

from index.errors import SearchStopped
from lsr.errors import EXPECTED_ERRORS, QueryError
from lsr.reading import Reader
from lsr.results import SearchResult
from lsr.search.matched_words import words_of_lists
from service.messages.highlight import Highlight, highlight, merged
from service.messages.rendering import Shown, render_search
from service.messages.search_requests import SearchRequest, keywords_of, query_of
from service.problems import FieldError, ProblemError, TimedOut, problem_of
from service.runtime.state import Service

_TERMS_TO_HIGHLIGHT: Final = 64
_slow_log = logging.getLogger("lsr.service.slow")


def search(
    service: Service,
    name: str,
    request: SearchRequest,
    arrived: float,
    request_id: str,
    *,
    turn_ms: float | None = None,
    began: float | None = None,
) -> dict[str, Any]:
    """Answer `request` from the collection `name`; `arrived` is the perf_counter() of its arrival.

    `began` is that of the start of one search of a batch: its time limit counts from the arrival, `took_ms` from there.

    Raises what the collection raises, TimedOut, and SearchStopped when `turn_ms` are over before the request's time is.
    """
    collection = service.store.get(name)
    timeout_ms = request.timeout_ms or service.settings.default_timeout_ms
    left = timeout_ms - (perf_counter() - arrived) * 1000.0
    if left <= 0:
        raise TimedOut(timeout_ms)
    explanation = request.explanation
    shown_terms = explanation.max_terms if explanation else None
    limit_ms = left if turn_ms is None else min(left, turn_ms)
    explained = max(shown_terms or 0, _TERMS_TO_HIGHLIGHT if request.highlight else 0)
    try:
        keywords, sampled = keywords_of(request, explained), not service.is_bound
        result = collection.search(query_of(request.query), timeout_ms=limit_ms, sampled=sampled, **keywords)
    except SearchStopped:
        if limit_ms < left:
            raise
        raise TimedOut(timeout_ms) from None
    searched = perf_counter()
    highlights = _highlights(collection, result) if request.highlight else None
    wants_words = explanation is not None and explanation.words
    words = words_of_lists(collection.find_encoder, result.hits, shown_terms or 0) if wants_words else None
    folded_ms = (perf_counter() - searched) * 1000.0
    result = replace(result, timings=replace(result.timings, explain=result.timings.explain + folded_ms))
    service.metrics.observe_search(result.timings)
    took_ms = (perf_counter() - (arrived if began is None else began)) * 1000.0
    if took_ms >= service.settings.slow_query_ms:
        service.slow.add(name, took_ms, result.timings, request.k, len(result.query_terms), request_id)
        _slow_log.warning(
            "slow query: %.0f ms (encode %.1f, search %.1f, rescore %.1f, fetch %.1f, explain %.1f) "
            "collection=%s k=%d terms=%d request_id=%s",
            took_ms,
            result.timings.encode,
            result.timings.search,
            result.timings.rescore,
            result.timings.fetch,
            result.timings.explain,
            name,
            request.k,
            len(result.query_terms),
            request_id,
        )
    shown = Shown(request.include, request.exclude, shown_terms)
    return render_search(result, took_ms=took_ms, shown=shown, highlights=highlights, words=words)


def search_batch(
    service: Service, name: str, requests: Sequence[SearchRequest], arrived: float, request_id: str
) -> dict[str, Any]:
    """Answer several searches of one collection, one after the other.

    The first that fails fails all: raises its problem, with the fields as `searches[3].query`.
    """
    results = []
    for position, request in enumerate(requests):
        try:
            results.append(search(service, name, request, arrived, request_id, began=perf_counter()))
        except EXPECTED_ERRORS as error:
            problem = problem_of(error)
            where = f"searches[{position}]"
            errors = [FieldError(f"{where}.{one.field}", one.detail) for one in problem.errors]
            detail = f"{where}: {problem.detail}"
            headers = problem.headers
            raise ProblemError(
                problem.status_code, problem.slug, problem.title, detail, errors=errors, headers=headers
            ) from None
    return {"took_ms": round((perf_counter() - arrived) * 1000.0, 3), "results": results}


def _highlights(collection: Reader, result: SearchResult) -> list[list[Highlight]]:
    """Return, for each hit, the words that hold a term that one of the sparse lists matched."""
    numbers: dict[str, dict[str, int]] = {}
    for term in result.query_terms:
        numbers.setdefault(term.using, {})[term.token] = term.term_id
    encoders = {using: collection.find_encoder(using) for using in numbers}
    if numbers and all(encoder is None for encoder in encoders.values()):
        raise QueryError(f"the vector {next(iter(numbers))!r} has no encoder", field="using")
    shown = []
    for hit in result.hits:
        found = [
            highlight(
                encoder, hit.document, {numbers[leg.using][term.token]: term.contribution for term in leg.matched}
            )
            for leg in hit.legs
            if leg.matched and (encoder := encoders.get(leg.using)) is not None
        ]
        shown.append(merged(found))
    return shown
