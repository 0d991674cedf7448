"""What can go wrong. The service's problems (RFC 9457) are exceptions with its own words."""

from __future__ import annotations

from typing import Any

import httpx


class LsrError(Exception):
    """Any failure of a call."""


class Unreachable(LsrError):
    """The service could not be reached, or its answer was lost."""


class UnexpectedAnswer(LsrError):
    """An answer that is not one of the lsr service, such as a proxy's error page."""


class Problem(LsrError):
    """A request that the service refused or could not answer.

    status      the HTTP status
    type        the last part of the problem's type, such as "unknown-field"
    detail      what is wrong, in a sentence
    errors      the wrong fields, each {"field", "detail"}
    request_id  the number under which the service's log has it
    """

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        self.status = status
        self.type = str(content.get("type", "")).rsplit("/", 1)[-1]
        self.title = str(content.get("title", ""))
        self.detail = str(content.get("detail", ""))
        self.errors: list[dict[str, str]] = list(content.get("errors") or [])
        self.request_id = content.get("request_id")
        super().__init__(self._message())

    def _message(self) -> str:
        message = f"{self.status} {self.type}: {self.detail}"
        others = [f"{one.get('field')}: {one.get('detail')}" for one in self.errors]
        others = [one for one in others if one not in self.detail]
        return "; ".join([message, *others]) + (f" (request {self.request_id})" if self.request_id else "")


class Unauthorized(Problem):
    """The API key is missing, unknown, or lacks the scope (401, 403)."""


class NotFound(Problem):
    """No such collection, document, job, snapshot or alias (404)."""


class Conflict(Problem):
    """The name exists, or the collection does not allow the change (409)."""


class Gone(Problem):
    """A cursor that is too old, or of another search (410)."""


class Invalid(Problem):
    """The request is not one that the service accepts (400, 413, 415, 422, 431)."""


class Overloaded(Problem):
    """The service is full (429); the call was repeated as often as it was allowed to."""


class Unavailable(Problem):
    """The service is starting or stopping, late, damaged or out of space (5xx)."""


_CLASSES: dict[int, type[Problem]] = {
    **dict.fromkeys((401, 403), Unauthorized),
    404: NotFound,
    409: Conflict,
    410: Gone,
    **dict.fromkeys((400, 413, 415, 422, 431), Invalid),
    429: Overloaded,
}


def problem_of(response: httpx.Response) -> LsrError:
    """Return the error that an answer with a status of 400 or more stands for."""
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict) or "status" not in content:
        return UnexpectedAnswer(
            f"{response.url} answered {response.status_code} without a problem of lsr: {response.text[:200]!r}"
        )
    error = _CLASSES.get(response.status_code, Unavailable if response.status_code >= 500 else Problem)
    return error(response.status_code, content)
