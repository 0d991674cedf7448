"""API keys with scopes.

A key is sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`; `Authorization: ApiKey KEY` and `api-key: KEY`, which
clients of other search engines send, work as well. The scopes are `read` (search, documents, metrics),
`write` (change documents) and `admin` (collections, aliases, snapshots; includes the other two). Only SHA-256 digests
are stored, and every digest is compared in constant time, so response times reveal nothing about a key.

The key file has one key per line, followed by its scopes; without scopes it is an admin key. `#` starts a comment:

    3q2-7wEjRWfT5o2mVt1uJQ   read
    Zb1k0C9x8WnL4sYhP6dG2A   read,write     # the importer
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from fastapi import Request

from lsr.errors import SettingsError
from service.problems import ProblemError

Scope = Literal["read", "write", "admin"]
SCOPES: Final[frozenset[str]] = frozenset({"read", "write", "admin"})
MIN_KEY_LENGTH: Final = 16
_MARK: Final = "_required_scope"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class KeyFileError(SettingsError):
    """An invalid line of the API key file; the message names the file and the line, never the key."""


@dataclass(frozen=True)
class ApiKey:
    """A key's SHA-256 digest and its scopes."""

    digest: bytes
    scopes: frozenset[str]

    @classmethod
    def of(cls, secret: str, *scopes: Scope) -> ApiKey:
        """Return the entry for a secret; without scopes it is an admin key."""
        return cls(_digest(secret), frozenset(scopes or ("admin",)))

    def allows(self, scope: Scope) -> bool:
        """Whether this key has the scope."""
        return scope in self.scopes or "admin" in self.scopes


def load_api_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read a key file.

    Raises KeyFileError for an invalid line, for a file without a key and for a file that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: cannot read the API keys: {error}") from None
    keys = [_parse_line(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if _content(line)]
    if not keys:
        raise KeyFileError(f"{path}: contains no API key")
    return tuple(keys)


def granted(keys: tuple[ApiKey, ...], secret: str | None) -> ApiKey | None:
    """Return the entry of `secret`, or None. All entries are compared, also after a match."""
    found = None
    offered = _digest(secret or "")
    for key in keys:
        if hmac.compare_digest(key.digest, offered):
            found = key
    return found


def requires(scope: Scope) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint with the scope that a caller needs; StrictRoute checks it before the body is read."""

    def mark(endpoint: Endpoint) -> Endpoint:
        vars(endpoint)[_MARK] = scope
        return endpoint

    return mark


def required_scope(endpoint: Callable[..., Any]) -> Scope | None:
    """Return the scope that an endpoint was marked with."""
    scope: Scope | None = vars(endpoint).get(_MARK)
    return scope


def check_scope(request: Request, scope: Scope) -> None:
    """Raise a 401 or 403 problem unless the request has a key with the scope, or no key is configured."""
    keys: tuple[ApiKey, ...] = request.app.state.service.settings.api_keys
    if not keys:
        return
    key = granted(keys, sent_key(request))
    if key is None:
        raise ProblemError(
            401,
            "unauthorized",
            "API key needed",
            "send a valid API key as `Authorization: Bearer …` or `X-API-Key: …`",
            headers={"WWW-Authenticate": 'Bearer realm="lsr"'},
        )
    if not key.allows(scope):
        raise ProblemError(403, "forbidden", "Scope missing", f"this API key does not have the scope {scope!r}")


def sent_key(request: Request) -> str | None:
    """Return the request's key, from the first of the three headers that has one."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() in ("bearer", "apikey") and token.strip():
        return token.strip()
    return request.headers.get("x-api-key") or request.headers.get("api-key")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _content(line: str) -> str:
    return line.split("#", 1)[0].strip()


def _parse_line(line: str, where: str) -> ApiKey:
    secret, _, rest = _content(line).partition(" ") if " " in _content(line) else _content(line).partition("\t")
    scopes = frozenset(rest.replace(",", " ").split())
    unknown = sorted(scopes - SCOPES)
    if unknown:
        raise KeyFileError(f"{where}: unknown scope {unknown[0]!r}; the scopes are read, write and admin")
    if len(secret) < MIN_KEY_LENGTH or not secret.isascii() or not secret.isprintable():
        raise KeyFileError(f"{where}: a key must have at least {MIN_KEY_LENGTH} printable ASCII characters")
    return ApiKey(_digest(secret), scopes or frozenset({"admin"}))
