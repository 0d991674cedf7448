"""A client for JSON over HTTP that waits and tries again, and whose errors name the server and the request.

Tried again: a connection that fails or ends early, a time limit that passes, and the answers 429, 502, 503 and 504;
Retry-After is respected. Redirects are not followed: they would carry the key to another server.
"""

from __future__ import annotations

import ipaddress
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from lsr.errors import SourceFailed

ATTEMPTS: Final = 6
MAX_ANSWER_BYTES: Final = 256 << 20
_FIRST_WAIT: Final = 0.5  # seconds; doubled at every further attempt
_LONGEST_WAIT: Final = 30.0
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_TRY_AGAIN: Final = frozenset({429, 502, 503, 504})


class JsonClient:
    """Requests to one server. `headers` may hold a key, which is never shown."""

    def __init__(self, server: str, headers: Mapping[str, str], ca_file: Path | None = None) -> None:
        """Raises SourceFailed for a certificate file that cannot be read."""
        self._server = server
        try:
            context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise SourceFailed(f"{ca_file}: not a file of PEM certificates: {error}") from None
        self._client = httpx.Client(base_url=server, headers=dict(headers), verify=context, timeout=_TIMEOUT)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Return the decoded answer; raises SourceFailed, with the server's own words where it gives them."""
        content = None if body is None else orjson.dumps(body)
        return self.send(method, path, content, "application/json")

    def send(self, method: str, path: str, content: bytes | None, kind: str) -> Any:
        """Send bytes of the media type `kind` and return the decoded answer; raises SourceFailed."""
        headers = {} if content is None else {"content-type": kind}
        attempt = 0
        while True:
            attempt += 1
            try:
                status, answer, wait = self._once(method, path, content, headers)
            except httpx.TransportError as error:
                if attempt == ATTEMPTS or _is_about_certificates(error):
                    raise SourceFailed(f"{self._named(method, path)}: {_words(error)}") from None
                wait = None
            else:
                if status not in _TRY_AGAIN or attempt == ATTEMPTS:
                    return self._decoded(method, path, status, answer)
            time.sleep(wait if wait is not None else _backoff(attempt))

    def _once(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float | None]:
        """Return (status, body, the wait that the server asks for)."""
        with self._client.stream(method, path, content=content, headers=headers) as response:
            parts, size = [], 0
            for part in response.iter_bytes():
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    limit = MAX_ANSWER_BYTES >> 20
                    raise SourceFailed(
                        f"{self._named(method, path)}: the answer is longer than {limit} MiB; lower --batch"
                    )
                parts.append(part)
            return response.status_code, b"".join(parts), _retry_after(response)

    def _decoded(self, method: str, path: str, status: int, answer: bytes) -> Any:
        try:
            value = orjson.loads(answer) if answer else None
        except orjson.JSONDecodeError as error:
            value = None
            if status < 300:
                raise SourceFailed(f"{self._named(method, path)}: the answer is not JSON: {error}") from None
        if status >= 300:
            raise SourceFailed(f"{self._named(method, path)}: {status} {_reason(value, answer)}", status=status)
        return value

    def _named(self, method: str, path: str) -> str:
        return f"{method} {self._server}{path}"


@contextmanager
def closing_on_error(client: JsonClient) -> Iterator[None]:
    """Close the client if the block raises."""
    try:
        yield
    except BaseException:
        client.close()
        raise


def sends_key_openly(server: str) -> bool:
    """Return whether a key would cross a network without encryption."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _backoff(attempt: int) -> float:
    return float(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))) * random.uniform(0.5, 1.0)


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of Retry-After; its form as a date is left to the back-off."""
    text = response.headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else None


def _reason(value: Any, answer: bytes) -> str:
    """Return the server's own words: Qdrant's `status.error`, a search engine's `error.root_cause[].reason`."""
    if isinstance(value, Mapping):
        status, error = value.get("status"), value.get("error")
        if isinstance(status, Mapping) and "error" in status:
            return str(status["error"])[:500]
        if isinstance(error, Mapping):
            causes = [cause.get("reason") for cause in error.get("root_cause", []) if isinstance(cause, Mapping)]
            return "; ".join(map(str, causes or [error.get("reason", error)]))[:500]
        if error is not None:
            return str(error)[:500]
    return " ".join(answer[:500].decode("utf-8", "replace").split())


def _words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    return str(error) or type(error).__name__


def _is_about_certificates(error: BaseException | None) -> bool:
    """Whether a certificate was refused: trying again does not help."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)
