"""API keys with scopes.

A key is sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`; `Authorization: ApiKey KEY` and `api-key: KEY`, which
clients of other search engines send, work as well. The scopes are `read` (search, documents, metrics),
`write` (change documents) and `admin` (collections, aliases, snapshots; includes the other two). Only SHA-256 digests
are stored, and every digest is compared in constant time, so response times reveal nothing about a key.

The key file has one key per line, followed by its scopes; without scopes it is an admin key. `#` starts a comment:

    3q2-7wEjRWfT5o2mVt1uJQ   read
    Zb1k0C9x8WnL4sYhP6dG2A   read,write     # the importer
    p8Vd0sQy7LmR2cXt5uJw1A   read  collections=papers,books  filter={"tenant": "a"}

A key may be bound, to collections (or aliases of them), to a filter, or to both. Its holder sees these collections, and
of each the documents that the filter matches (lsr/part.py); what else there is has no effect on any answer. A bound key
has the scopes read and write only, read if none is given.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from fastapi import Request

from lsr import strict_json
from lsr.errors import InvalidJson, SettingsError
from lsr.search.filters import matches_everything
from lsr.storage.alias_file import NAME_RULE, is_name
from service.problems import ProblemError

Scope = Literal["read", "write", "admin"]
SCOPES: Final[frozenset[str]] = frozenset({"read", "write", "admin"})
MIN_KEY_LENGTH: Final = 16
KEY_OF: Final = "lsr.key"  # where a request's ASGI scope has the key that was sent
_MARK: Final = "_required_scope"
_OPEN_TO_BOUND: Final = "_open_to_bound_keys"
_FILTER: Final = re.compile(r"\sfilter=")

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class KeyFileError(SettingsError):
    """An invalid line of the API key file; the message names the file and the line, never the key."""


@dataclass(frozen=True)
class ApiKey:
    """A key's SHA-256 digest and its scopes."""

    digest: bytes
    scopes: frozenset[str]
    collections: frozenset[str] | None = None  # that it is bound to, or aliases of them; None: all
    filter_json: str | None = None  # that is always applied

    @classmethod
    def of(
        cls,
        secret: str,
        *scopes: Scope,
        collections: Collection[str] | None = None,
        condition: Mapping[str, Any] | None = None,
    ) -> ApiKey:
        """Return the entry for a secret; without scopes it is an admin key, or reads if it is bound."""
        bound = collections is not None or condition is not None
        return cls(
            _digest(secret),
            frozenset(scopes or (("read",) if bound else ("admin",))),
            None if collections is None else frozenset(collections),
            None if condition is None else json.dumps(condition),
        )

    @property
    def is_bound(self) -> bool:
        """Whether the holder sees only a part of what there is."""
        return self.collections is not None or self.filter_json is not None

    @property
    def condition(self) -> Mapping[str, Any] | None:
        """The filter that is always applied, or None."""
        found: Mapping[str, Any] | None = None if self.filter_json is None else json.loads(self.filter_json)
        return found

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
    if len({key.digest for key in keys}) < len(keys):  # which of its scopes and bindings would hold?
        raise KeyFileError(f"{path}: a key occurs on two lines")
    return tuple(keys)


def granted(keys: tuple[ApiKey, ...], secret: str | None) -> ApiKey | None:
    """Return the entry of `secret`, or None. All entries are compared, also after a match."""
    found = None
    offered = _digest(secret or "")
    for key in keys:
        if hmac.compare_digest(key.digest, offered):
            found = key
    return found


def requires(scope: Scope, *, bound: bool = False) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint with the scope that a caller needs; StrictRoute checks it before the body is read.

    `bound`: a bound key may call it. Only for an endpoint that takes everything it shows from the `Service` that it is
    given: that one has the key's collections and documents.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        vars(endpoint)[_MARK] = scope
        vars(endpoint)[_OPEN_TO_BOUND] = bound
        return endpoint

    return mark


def required_scope(endpoint: Callable[..., Any]) -> Scope | None:
    """Return the scope that an endpoint was marked with."""
    scope: Scope | None = vars(endpoint).get(_MARK)
    return scope


def is_open_to_bound_keys(endpoint: Callable[..., Any]) -> bool:
    """Whether a bound key may call an endpoint."""
    return bool(vars(endpoint).get(_OPEN_TO_BOUND))


def check_scope(request: Request, scope: Scope, *, bound: bool) -> None:
    """Raise a 401 or 403 problem unless the request has a key with the scope, or no key is configured.

    `bound`: whether a bound key is allowed. The key is noted in the request's ASGI scope.
    """
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
    if key.is_bound and not bound:
        detail = "this API key is bound to a part of the collections, and this path shows or changes more than that"
        raise ProblemError(403, "forbidden", "Key is bound", detail)
    request.scope[KEY_OF] = key


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
    rest, condition = _split_filter(line, where)
    secret, *words = _content(rest).split()
    scopes: set[str] = set()
    collections: set[str] | None = None
    for word in words:
        if word.startswith("collections="):
            collections = (collections or set()) | set(word.removeprefix("collections=").split(","))
        else:
            scopes |= {scope for scope in word.split(",") if scope}
    bad = sorted(name for name in collections or () if not is_name(name))
    if bad:
        raise KeyFileError(f"{where}: {bad[0]!r} is not a collection name: a name is {NAME_RULE}")
    unknown = sorted(scopes - SCOPES)
    if unknown:
        raise KeyFileError(f"{where}: unknown scope {unknown[0]!r}; the scopes are read, write and admin")
    if len(secret) < MIN_KEY_LENGTH or not secret.isascii() or not secret.isprintable():
        raise KeyFileError(f"{where}: a key must have at least {MIN_KEY_LENGTH} printable ASCII characters")
    bound = collections is not None or condition is not None
    if bound and "admin" in scopes:
        raise KeyFileError(f"{where}: a key that is bound to collections or a filter cannot have the scope admin")
    default = "read" if bound else "admin"
    return ApiKey(
        _digest(secret),
        frozenset(scopes or {default}),
        None if collections is None else frozenset(collections),
        condition,
    )


def _split_filter(line: str, where: str) -> tuple[str, str | None]:
    """Return the line without its filter, and the filter as JSON; the JSON may contain spaces and `#`."""
    begins = _FILTER.search(line)
    if begins is None or "#" in line[: begins.start()]:
        return line, None
    text = line[begins.end() :]
    try:
        _, length = json.JSONDecoder().raw_decode(text)
        condition = strict_json.loads(text[:length])
    except (InvalidJson, ValueError) as error:
        raise KeyFileError(f"{where}: the filter is not JSON: {error}") from None
    if not isinstance(condition, dict) or matches_everything(condition):
        raise KeyFileError(f"{where}: the filter must be an object that some documents do not match")
    rest = f"{line[: begins.start()]} {text[length:]}"
    if _FILTER.search(rest.split("#", 1)[0]):
        raise KeyFileError(f"{where}: give one filter; its conditions can be joined by `and`")
    return rest, json.dumps(condition)
