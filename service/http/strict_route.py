"""A FastAPI route that checks a request before FastAPI reads it.

In this order: does the caller have the scope (checked before the body is read), is the service ready, does the body
have the JSON media type (otherwise 415), is it strict JSON (lsr.strict_json; otherwise 400). A large body is parsed in
a thread, because the event loop serves all clients.
"""

from __future__ import annotations

import asyncio
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Coroutine
from typing import Any, Final, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from lsr import strict_json
from lsr.errors import InvalidJson
from service.auth import check_scope, is_open_to_bound_keys, required_scope
from service.messages.requests import COLLECTION_NAME
from service.problems import ProblemError, problem_of

_PARSE_IN_THREAD: Final = 64 * 1024
_NAME: Final = re.compile(COLLECTION_NAME)


class StrictRequest(Request):
    """A request whose JSON body is parsed strictly."""

    async def json(self) -> Any:
        """Parse the body; raises InvalidJson."""
        if not hasattr(self, "_json"):
            body = await self.body()
            if len(body) <= _PARSE_IN_THREAD:
                self._json = parse_json(body)
            else:
                self._json = await asyncio.to_thread(parse_json, body)
        return self._json


def parse_json(body: bytes) -> Any:
    """Parse strict JSON; a byte order mark, which some editors write, does not count.

    Raises ProblemError (FastAPI would turn any other exception from a request's `json` into a plain 400).
    """
    try:
        return strict_json.loads(body.removeprefix(BOM_UTF8))
    except InvalidJson as error:
        raise problem_of(error) from None


class StrictRoute(APIRoute):
    """The class of all our routes."""

    needs_readiness = True

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler in the checks."""
        handle = self.make_handler()
        scope = required_scope(self.endpoint)
        bound = is_open_to_bound_keys(self.endpoint)
        accepts_json = self.body_field is not None
        needs_json = self.body_field is not None and self.body_field.field_info.is_required()
        needs_readiness = self.needs_readiness

        async def checked(request: Request) -> Response:
            if scope is not None:
                check_scope(request, scope, bound=bound)
            if needs_readiness:
                request.app.state.service.readiness.require()
            if needs_json or (accepts_json and _has_body(request)):
                require_media_type(request, "application/json")
            return await handle(StrictRequest(request.scope, request.receive))

        return checked

    def make_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, which calls the endpoint with the request's data."""
        return super().get_route_handler()


class DirectRoute(StrictRoute):
    """A route that calls its endpoint without FastAPI's dependencies, which take as long as a search.

    For endpoints with a JSON `body` and some of `collection`, `request` and `service`. An invalid request goes through
    FastAPI, so that it is refused with the same messages as elsewhere.
    """

    def make_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that checks the body and calls the endpoint, or passes the request to FastAPI's handler."""
        refuse = super().make_handler()
        endpoint = self.endpoint
        hints = get_type_hints(endpoint)
        model: type[BaseModel] = hints["body"]
        names = hints.keys() - {"body", "return"}

        async def call(request: Request) -> Response:
            if not await request.body():
                return await refuse(request)
            collection = request.path_params.get("collection", "")
            given = {"collection": collection, "request": request, "service": request.app.state.service.of(request)}
            try:
                body = model.model_validate(await request.json())
            except ValidationError:
                return await refuse(request)
            if collection and not _NAME.fullmatch(collection):
                return await refuse(request)
            response: Response = await endpoint(body=body, **{name: given[name] for name in names})
            return response

        return call


class UnguardedRoute(StrictRoute):
    """A route that also works while the service starts or stops."""

    needs_readiness = False


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def require_media_type(request: Request, *accepted: str) -> str:
    """Return the body's media type without parameters; raise a 415 problem unless it is one of `accepted`."""
    given = request.headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type not in accepted:
        raise ProblemError(
            415,
            "unsupported-media-type",
            "Unsupported media type",
            f"Content-Type must be {' or '.join(accepted)}, not {given or 'missing'!r}",
            headers={"Accept-Post": ", ".join(accepted)} if request.method == "POST" else None,
        )
    return media_type
