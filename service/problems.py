"""Every error as RFC 9457 `application/problem+json`.

    {"type": "/problems/invalid-query", "title": "Invalid query", "status": 422, "detail": "…",
     "instance": "/v1/collections/c/search", "request_id": "…", "errors": [{"field": "k", "detail": "…"}]}

`type` is one of a fixed set (most are in lsr.errors, those of HTTP itself in this module), and `detail` gives the error
and the field. A 5xx never shows a traceback: the log has it under the `request_id`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from index.errors import IndexCorrupt
from lsr.errors import EXPECTED_ERRORS, CollectionCorrupt, CollectionLocked, describe

MEDIA_TYPE = "application/problem+json"
MAX_LISTED_ERRORS = 20
_MAX_EXAMINED = 500  # of pydantic's errors, which include those of each form that a field can have
MAX_DETAIL = 500  # characters of a detail or field, which quote the request
_logger = logging.getLogger("lsr.service")
_PARAMETER = re.compile(r"\{[^}]*\}")  # of a route's path


# What other search engines call it, and what it is called here.
OTHER_NAMES: Final = {
    **dict.fromkeys(("limit", "size", "top_k", "topk", "top", "n"), "the number of hits is k"),
    **dict.fromkeys(("offset", "from", "page", "search_after"), 'pages are asked for with "cursor": true'),
    **dict.fromkeys(("q", "text", "query_text", "search"), 'the query is "query": {"text": "…"}'),
    **dict.fromkeys(("vector", "sparse_vector", "query_vector"), 'a vector is "query": {"sparse": {…}}'),
    **dict.fromkeys(("filters", "where", "query_filter", "post_filter"), "conditions are filter"),
    **dict.fromkeys(
        ("fields", "_source", "with_payload", "attributesToRetrieve", "output_fields"),
        "parts of a document are include and exclude",
    ),
    **dict.fromkeys(("aggs", "aggregations", "facet"), "counts are facets"),
    **dict.fromkeys(("rerank", "reranker"), "a second stage is rescore"),
    **dict.fromkeys(("score_threshold", "threshold"), "the lowest score is min_score"),
    **dict.fromkeys(("order_by", "sort_by"), "the order is sort"),
    **dict.fromkeys(("highlighting", "attributesToHighlight"), "positions of terms are highlight: true"),
    **dict.fromkeys(("settings", "mappings", "properties"), "metadata fields are declared in schema"),
    **dict.fromkeys(("docs", "points", "items", "data"), "documents are a list called documents"),
    **dict.fromkeys(("input", "texts", "sentences"), "texts to encode are inputs"),
}


# Clients of text-embeddings-inference look for `error` and `error_type`.
_EMBED: Final = "/embed_sparse"
_EMBED_ERRORS: Final = {429: "Overloaded", 500: "Backend", 503: "Unhealthy"}


@dataclass(frozen=True)
class FieldError:
    """An error in one field of a request; `field` is a path such as `query.sparse.values[3]`."""

    field: str
    detail: str


class ProblemError(HTTPException):
    """An error of HTTP itself. A subclass of Starlette's exception, so that FastAPI passes it on from any place."""

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.slug = slug
        self.title = title
        self.errors = tuple(errors)


class FieldProblem(ProblemError):
    """A 422 about one field."""

    def __init__(self, field: str, detail: str, *, slug: str = "invalid-request", title: str = "Invalid request"):
        super().__init__(422, slug, title, f"{field}: {detail}", errors=[FieldError(field, detail)])


class Overloaded(ProblemError):
    """A full queue: 429 with the time after which to try again."""

    def __init__(self, what: str, retry_after: int = 1) -> None:
        super().__init__(
            429,
            "overloaded",
            "Too many requests",
            f"the queue of {what} is full; try again in {retry_after} s",
            headers={"Retry-After": str(retry_after)},
        )
        self.what = what


class TimedOut(ProblemError):
    """A deadline that passed before the answer was ready."""

    def __init__(self, timeout_ms: float) -> None:
        super().__init__(
            503,
            "timeout",
            "Timed out",
            f"no result within timeout_ms = {timeout_ms:g}",
            headers={"Retry-After": "1"},
        )


def install_problem_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make `app` answer every expected exception with a problem; `routes` give the methods of a path."""

    async def on_http(request: Request, error: Exception) -> Response:
        response = await _on_http(request, error, routes)
        if response.status_code == 405:  # Starlette names the methods of the first route only
            response.headers["Allow"] = ", ".join(_methods(routes, request.scope))
        return response

    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    for root in EXPECTED_ERRORS:
        app.add_exception_handler(root, _on_expected)


def problem_response(
    scope: Scope,
    status: int,
    slug: str,
    title: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the response for one problem."""
    body: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": title,
        "status": status,
        "detail": shortened(detail),
        "instance": scope.get("path", ""),
        "request_id": scope.get("lsr.request_id", ""),
    }
    if scope.get("path", "").endswith(_EMBED):
        body |= {"error": body["detail"], "error_type": _EMBED_ERRORS.get(status, "Validation")}
    if errors:
        body["errors"] = [
            {"field": shortened(error.field), "detail": shortened(error.detail)} for error in errors[:MAX_LISTED_ERRORS]
        ]
    return Response(_encode(body), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def shortened(text: str) -> str:
    """Return at most MAX_DETAIL characters of a text that quotes a request."""
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def internal_error(scope: Scope, error: BaseException) -> Response:
    """Log an unexpected error with its traceback, and return a 500 without details."""
    _logger.error("unexpected error, request_id=%s", scope.get("lsr.request_id"), exc_info=error)
    return problem_response(
        scope, 500, "internal", "Internal error", "an error in the service; its log has details for this request_id"
    )


def problem_of(error: BaseException) -> ProblemError:
    """Return an expected error of the collection, the index or an encoder as a problem."""
    meaning = describe(error)
    detail = str(error)
    field = getattr(error, "field", None)
    errors = [FieldError(field, getattr(error, "reason", detail))] if field else []
    if field and field not in detail:
        detail = f"{field}: {detail}"
    temporary = meaning.status in (429, 503, 507) or isinstance(error, CollectionLocked)
    headers = {"Retry-After": "1"} if temporary else {}
    return ProblemError(meaning.status, meaning.slug, meaning.title, detail, errors=errors, headers=headers)


def field_path(location: Sequence[int | str]) -> str:
    """Return a location as a path: ("searches", 3, "k") is `searches[3].k`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _respond(request: Request, problem: ProblemError) -> Response:
    return problem_response(
        request.scope,
        problem.status_code,
        problem.slug,
        problem.title,
        problem.detail,
        problem.errors,
        problem.headers,
    )


async def _on_http(request: Request, error: Exception, routes: Sequence[BaseRoute]) -> Response:
    if isinstance(error, ProblemError):
        if isinstance(error, Overloaded):
            request.app.state.service.metrics.rejected.labels(error.what).inc()
        return _respond(request, error)
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    detail = {
        404: _no_such_path(request.scope, routes),
        405: f"this path does not support {request.method}",
    }.get(error.status_code, str(error.detail))
    return problem_response(
        request.scope,
        error.status_code,
        phrase.lower().replace(" ", "-"),
        phrase,
        detail,
        headers=error.headers,
    )


def _no_such_path(scope: Scope, routes: Sequence[BaseRoute]) -> str:
    path = scope["path"]
    shorter = path.rstrip("/")
    if shorter != path and _methods(routes, {**scope, "path": shorter}):
        return f"this path does not exist; it does without the slash at its end: {shorter}"
    return "this path does not exist; GET /openapi.json lists all paths"


async def _on_validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = _without_alternatives([_field_error(one, error.body) for one in error.errors()[:_MAX_EXAMINED]])
    title, slug = "Invalid request", "invalid-request"
    return problem_response(
        request.scope, 422, slug, title, "; ".join(f"{one.field}: {one.detail}" for one in found[:3]), found
    )


def _location(error: Mapping[str, Any], body: object) -> list[int | str]:
    """Return where pydantic found an error, without what it puts between fields: names of forms and of validators.

    A part belongs to the request if it leads somewhere in the body, or if it is the name of what is missing there.
    """
    parts = list(error["loc"])
    if len(parts) > 1 and parts[0] in ("query", "path", "header"):
        return parts[1:]
    if parts[:1] != ["body"]:
        return parts
    found: list[int | str] = []
    value = body
    for at, part in enumerate(parts[1:], 2):
        known = isinstance(value, dict) and part in value
        if known or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]  # type: ignore[index]
            found.append(part)
        elif at == len(parts) and error["type"] == "missing" and isinstance(part, str):
            found.append(part)
    return found or ["body"]


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """Return the methods that the request's path supports.

    Of the templates that match, those with the longest literal part count: in `/snapshots/a:restore` the `:restore` is
    not part of a snapshot's name.
    """
    matching: dict[int, set[str]] = {}
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE:
            literal_length = len(_PARAMETER.sub("", route.path))
            matching.setdefault(literal_length, set()).update(route.methods or ())
    return sorted(matching[max(matching)]) if matching else []


def _without_alternatives(errors: Sequence[FieldError]) -> list[FieldError]:
    """Leave out what the other forms of a field say where one form says more: its errors are of parts of the field."""
    kept = []
    for one in errors:
        deeper = (f"{one.field}.", f"{one.field}[")
        if not any(other.field.startswith(deeper) for other in errors) and one not in kept:
            kept.append(one)
    return kept


def _field_error(error: Mapping[str, Any], body: object) -> FieldError:
    location = _location(error, body)
    detail = error["msg"]
    if error["type"] == "extra_forbidden":
        detail = "unknown field"
        hint = OTHER_NAMES.get(str(location[-1]))
        if hint is not None:
            detail = f"unknown field; {hint}"
    elif error["type"] == "missing":
        detail = "a JSON body is needed" if location == ["body"] else "is needed"
    return FieldError(field_path(location), detail.removeprefix("Value error, "))


async def _on_expected(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status_code == 429:
        request.app.state.service.metrics.rejected.labels(problem.slug).inc()
    if isinstance(error, (CollectionCorrupt, IndexCorrupt)):
        request.app.state.service.scrubber.look_now()
    if problem.status_code >= 500:
        _logger.warning("request_id=%s: %s", request.scope.get("lsr.request_id"), error)
    return _respond(request, problem)


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # a lone surrogate from the request that a message quotes
        shown = {key: _printable(value) for key, value in body.items()}
        return orjson.dumps(shown)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [{key: _printable(text) for key, text in one.items()} for one in value]
    return value
