"""One search, from the checked request to the JSON of the answer. Where it runs is search_turns.py's business."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from encoders.encoder import Encoder
from index.errors import SearchStopped
from lsr.collection import Collection
from lsr.documents import SparseByToken, SparseInput, parse_sparse
from lsr.errors import EXPECTED_ERRORS, InvalidDocument, QueryError
from lsr.results import SearchResult
from lsr.search.matched_words import matched_words
from service.messages.highlight import Highlight, highlight
from service.messages.rendering import render_search
from service.messages.requests import MAX_QUERY_TERMS, QueryInput, SearchRequest
from service.problems import FieldError, ProblemError, TimedOut, problem_of
from service.runtime.state import Service

_EVERYTHING: Final = ("title", "text", "parent", "metadata")
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
) -> dict[str, Any]:
    """Answer `request` from the collection `name`; `arrived` is the perf_counter() of its arrival.

    Raises what the collection raises, TimedOut, and SearchStopped when `turn_ms` are over before the request's time is.
    """
    collection = service.store.get(name)
    timeout_ms = request.timeout_ms or service.settings.default_timeout_ms
    left = timeout_ms - (perf_counter() - arrived) * 1000.0
    if left <= 0:
        raise TimedOut(timeout_ms)
    shown_terms = request.explain.max_terms if request.explain else None
    limit_ms = left if turn_ms is None else min(left, turn_ms)
    try:
        result = _search(
            collection,
            request,
            limit_ms,
            max(shown_terms or 0, _TERMS_TO_HIGHLIGHT if request.highlight else 0),
        )
    except SearchStopped:
        if limit_ms < left:
            raise
        raise TimedOut(timeout_ms) from None
    wants_words = request.explain is not None and request.explain.words
    encoder = collection.find_encoder(request.using) if request.highlight or wants_words else None
    highlights = _highlight(encoder, request.using, result) if request.highlight else None
    words = matched_words(encoder, result.hits, shown_terms) if wants_words and shown_terms else None
    service.metrics.observe_search(result.timings)
    took_ms = (perf_counter() - arrived) * 1000.0
    if took_ms >= service.settings.slow_query_ms:
        _slow_log.warning(
            "slow query: %.0f ms (encode %.1f, search %.1f, fetch %.1f) collection=%s k=%d terms=%d request_id=%s",
            took_ms,
            result.timings.encode,
            result.timings.search,
            result.timings.fetch,
            name,
            request.k,
            len(result.query_terms),
            request_id,
        )
    include = _EVERYTHING if request.include is None else request.include
    return render_search(
        result, took_ms=took_ms, include=include, max_terms=shown_terms, highlights=highlights, words=words
    )


def search_batch(
    service: Service, name: str, requests: Sequence[SearchRequest], arrived: float, request_id: str
) -> dict[str, Any]:
    """Answer several searches of one collection, one after the other.

    The first that fails fails all: raises its problem, with the fields as `searches[3].query`.
    """
    results = []
    for position, request in enumerate(requests):
        try:
            results.append(search(service, name, request, arrived, request_id))
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


def _search(collection: Collection, request: SearchRequest, timeout_ms: float, explain_terms: int) -> SearchResult:
    return collection.search(
        _query(request.query),
        using=request.using,
        k=request.k,
        filter=request.filter,
        explain_terms=explain_terms,
        timeout_ms=timeout_ms,
        **request.params.model_dump(),
    )


def _query(query: QueryInput) -> str | SparseInput:
    """Return the query as the collection takes it.

    Raises QueryError for a sparse vector that makes no sense.
    """
    if query.text is not None:
        return query.text
    try:
        sparse = parse_sparse(query.sparse, "query.sparse")
    except InvalidDocument as error:
        raise QueryError(error.detail, field=error.field) from None
    terms = sparse.weights if isinstance(sparse, SparseByToken) else sparse.indices
    if len(terms) > MAX_QUERY_TERMS:
        raise QueryError(f"a query has at most {MAX_QUERY_TERMS} terms, not {len(terms)}", field="query.sparse")
    if isinstance(sparse, SparseByToken) and any("\0" in token for token in sparse.weights):
        raise QueryError("a token holds a NUL character", field="query.sparse")
    return sparse


def _highlight(encoder: Encoder | None, using: str, result: SearchResult) -> list[list[Highlight]]:
    if encoder is None:
        raise QueryError(f"the vector {using!r} has no encoder", field="using")
    number = {term.token: term.term_id for term in result.query_terms}
    return [
        highlight(encoder, hit.document, {number[term.token]: term.contribution for term in hit.matched})
        for hit in result.hits
    ]
