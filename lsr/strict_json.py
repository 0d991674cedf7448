"""Strict JSON (RFC 8259) for untrusted input.

`loads` accepts what orjson accepts, except three things: a key that occurs twice in one object (parsers differ in which
one they keep, so two programs would see two documents), nesting deeper than 64 levels, and too many values. orjson
already refuses NaN, Infinity, numbers beyond a float64, lone surrogates and bytes that are not UTF-8. An integer beyond
64 bits, which orjson returns as the nearest float, is returned as the integer that it is. The error gives the reason,
the position (the character, from 0) and the field (`query.sparse.lobster`).

A list of two bytes, or a string of three, takes many times that in memory and time. So the number of both is limited,
and counted in the bytes before they are parsed (`check_size`).

How duplicate keys are found without parsing twice: outside strings, JSON has exactly one colon per key. So the colons
of the input are the keys that orjson kept, the colons inside the strings that it kept, and those of the keys that it
dropped. Counting the first is a memchr, the next two a walk over the value. A colon written in a string as \\u003a
would break the count, so an input that contains \\u003 is checked by the slower standard parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, Final

import orjson

from lsr.errors import InvalidJson

MAX_DEPTH: Final = 64
MAX_CONTAINERS: Final = 1_000_000  # lists and objects of one text
MAX_STRINGS: Final = 4_000_000  # and keys

_PATH_LIMIT: Final = 1 << 20  # characters; beyond it an error does not name the field: the scan in Python is slow
# Possessive, and an unterminated string is a token too; otherwise each of its quotes starts a scan of the whole rest.
_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\],]', re.DOTALL)
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NUMBERS: Final = frozenset({int, float, bool, type(None)})
_EXACT: Final = float(2**63)  # from here on a float may stand for an integer that orjson could not hold
_NOT_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")


def loads(data: bytes | bytearray | memoryview | str) -> Any:
    """Parse one JSON text of UTF-8.

    Raises InvalidJson (`reason`, `position` in characters from 0, `field` as a dotted path or None).
    """
    check_size(data)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        text = data if isinstance(data, str) else bytes(data).decode(errors="replace")
        reason, position = _explain(text, error)
        raise InvalidJson(reason, position, field=_path_at(text, position)) from None
    raw = data.encode() if isinstance(data, str) else bytes(data)
    structural = raw.count(b":")
    keys, colons, depth, large = _measure(value, 1)
    if depth > MAX_DEPTH:
        raise InvalidJson(f"nested deeper than {MAX_DEPTH} levels", 0)
    if keys + colons != structural or b"\\u003" in raw:
        _refuse_duplicates(raw.decode())
    return _exact(raw) if large else value


def check_size(data: bytes | bytearray | memoryview | str) -> None:
    """Raise InvalidJson if a text, or several of them one after the other, has too many lists, objects or strings.

    Only counts bytes: the text need not be valid JSON.
    """
    if len(data) < 2 * MAX_CONTAINERS:
        return
    raw = data.encode(errors="replace") if isinstance(data, str) else bytes(data)
    if raw.count(b'"') - raw.count(b'\\"') > 2 * MAX_STRINGS:
        raise InvalidJson(f"more than {MAX_STRINGS:,} strings and keys", 0)
    if _count_containers(raw) > MAX_CONTAINERS and _count_containers(_STRING.sub(b"", raw)) > MAX_CONTAINERS:
        raise InvalidJson(f"more than {MAX_CONTAINERS:,} lists and objects", 0)


def _count_containers(raw: bytes) -> int:
    return raw.count(b"[") + raw.count(b"{")


def _exact(raw: bytes) -> Any:
    """Parse valid JSON again, with integers of any size."""
    try:
        return json.loads(raw)
    except ValueError:  # Python reads no more than some thousand digits
        raise InvalidJson("an integer with too many digits", 0) from None


def _measure(value: Any, level: int) -> tuple[int, int, int, bool]:
    """Return (keys, colons inside strings, depth, whether a float is large) of a parsed value at nesting `level`.

    The recursion ends one level past MAX_DEPTH.
    """
    kind = type(value)
    if kind is str:
        return 0, value.count(":"), 0, False
    if kind is dict:
        keys = len(value)
        colons = "".join(value).count(":")
        children = value.values()
    elif kind is list:
        keys, colons = 0, 0
        children = value
    else:
        return 0, 0, 0, kind is float and abs(value) >= _EXACT
    if level > MAX_DEPTH:
        return keys, colons, level, False
    # A sparse vector has thousands of numbers: `map` into a set runs in C, a loop does not.
    kinds = set(map(type, children))
    large = float in kinds and _has_large(children, kinds)
    if kinds <= _NUMBERS:
        return keys, colons, level, large
    colons += "".join([child for child in children if type(child) is str]).count(":")
    depth = level
    for child in children:
        if type(child) is dict or type(child) is list:
            child_keys, child_colons, child_depth, child_large = _measure(child, level + 1)
            keys += child_keys
            colons += child_colons
            depth = max(depth, child_depth)
            large = large or child_large
    return keys, colons, depth, large


def _has_large(children: Collection[Any], kinds: set[type]) -> bool:
    """Whether one of the values, whose types are `kinds`, is a large float."""
    floats = children if kinds == {float} else [child for child in children if type(child) is float]
    return max(floats) >= _EXACT or min(floats) <= -_EXACT


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _refuse_duplicates(text: str) -> None:
    """Raise InvalidJson if an object of this valid JSON text has a key twice."""
    try:
        json.loads(text, object_pairs_hook=_unique)
    except _DuplicateKey as error:
        position, path = _find_duplicate(text) if len(text) <= _PATH_LIMIT else (0, None)
        raise InvalidJson("a duplicate key", position, field=path or error.key) from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _DuplicateKey(key)
        seen.add(key)


def _explain(text: str, error: orjson.JSONDecodeError) -> tuple[str, int]:
    """Return why orjson refused the text, as a message for users, and at which character."""
    # After "-", orjson points at the character that should have been a digit.
    for position in (error.pos, max(error.pos - 1, 0)):
        for word in _NOT_NUMBERS:
            if text.startswith(word, position):
                return f"{word} is not a JSON number", position
    reason = error.msg
    if text.startswith("\ufeff"):
        return "it starts with a byte order mark", 0
    if "surrogate" in reason and "UTF-8" not in reason:
        reason = "a lone surrogate, which is not valid Unicode"
    elif "UTF-8" in reason:
        return "the bytes are not valid UTF-8", max(text.find("\ufffd"), 0)
    elif "zero-length" in reason or not text.strip():
        reason = "the input is empty"
    elif "depth" in reason:
        reason = f"nested deeper than {MAX_DEPTH} levels"
    elif "infinity" in reason:
        reason = "a number too large for a 64-bit float"
    return reason, error.pos


def _path_at(text: str, position: int) -> str | None:
    """Return the dotted path of the field that contains character `position`; None at the top level or if unclear."""
    if position > _PATH_LIMIT:
        return None
    stack: list[str | int] = []
    for token in _TOKEN.finditer(text, 0, position):
        _step(stack, token.group(), text, token.end())
        if len(stack) > MAX_DEPTH:
            return None
    return _dotted(stack)


def _find_duplicate(text: str) -> tuple[int, str | None]:
    """Return (position, path) of the first duplicate key, in valid JSON."""
    stack: list[str | int] = []
    seen: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word == "{":
            seen.append(set())
        elif word == "}":
            seen.pop()
        is_key = _step(stack, word, text, token.end())
        if is_key:
            key = json.loads(word, strict=False)
            if key in seen[-1]:
                return token.start(), _dotted(stack)
            seen[-1].add(key)
    return 0, None


def _step(stack: list[str | int], word: str, text: str, end: int) -> bool:
    """Move `stack` (a key or position for each open object or list) past one token; return whether it was a key."""
    if word == "{":
        stack.append("")
    elif word == "[":
        stack.append(0)
    elif word in "}]":
        if stack:
            stack.pop()
    elif word == ",":
        if stack:
            last = stack[-1]
            stack[-1] = last + 1 if isinstance(last, int) else ""
    elif stack and isinstance(stack[-1], str) and text[end : end + 80].lstrip(" \t\r\n").startswith(":"):
        stack[-1] = word[1:-1]
        return True
    return False


def _dotted(stack: list[str | int]) -> str | None:
    path = ""
    for part in stack:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part:
            path += f".{part}" if path else part
    return path[:200] or None
