"""The metadata schema of a collection: the fields that filters can use, their types and their Arrow columns.

A collection may declare fields, `{"year": "int", "tag": "keyword[]"}`. A declared field is checked on every write and
gets a typed column, which filters read. Other metadata is stored and returned unchanged, but filters cannot use it. A
missing or null value is a null in the column, and every comparison with a null is false.

    int        64-bit integer                       keyword    a string, compared as a whole
    float      a finite number                      keyword[]  a list of strings
    bool       true or false                        date       ISO 8601, `2020-01-31` or `2020-01-31T09:30:00Z`, in UTC
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

import orjson
import pyarrow as pa

from lsr.errors import InvalidDocument, QueryError

FieldType = Literal["int", "float", "bool", "keyword", "keyword[]", "date"]

RESERVED_NAMES = frozenset({"and", "or", "not"})
MAX_FIELDS = 256
MAX_METADATA_BYTES = 1 << 20

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_PART_OF_A_DATE = re.compile(r"\d{4}(-\d\d)?")
_ARROW_TYPES: dict[FieldType, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "keyword": pa.large_string(),
    "keyword[]": pa.large_list(pa.large_string()),
    "date": pa.timestamp("us", tz="UTC"),
}


class MetadataSchema:
    """The declared fields, by name; immutable."""

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        """Check names and types; raises QueryError with `field` = `schema.<name>`."""
        checked: dict[str, FieldType] = {}
        for name, kind in (fields or {}).items():
            if not isinstance(name, str) or not _NAME.fullmatch(name) or name in RESERVED_NAMES:
                raise QueryError(
                    f"schema: {name!r} is not a field name: a letter or _, then letters, digits, _ . -, at most 64 "
                    "characters, and not one of and, or, not",
                    field=f"schema.{name}",
                )
            if kind not in get_args(FieldType):
                raise QueryError(
                    f"schema.{name}: {kind!r} is not a type; the types are {', '.join(get_args(FieldType))}",
                    field=f"schema.{name}",
                )
            checked[name] = cast(FieldType, kind)
        # In alphabetical order, as the catalog stores them: the order of the columns.
        self.fields: Mapping[str, FieldType] = dict(sorted(checked.items()))

    def check_size(self) -> None:
        """Raise QueryError if there are more fields than a collection may have."""
        if len(self.fields) > MAX_FIELDS:
            raise QueryError(
                f"schema: {len(self.fields)} fields; a collection may have at most {MAX_FIELDS}", field="schema"
            )

    def extended(self, added: Mapping[str, str]) -> MetadataSchema:
        """Return the schema with more fields; a field that exists with the same type stays as it is.

        Raises QueryError, with `field` = `schema.<name>`, for a bad name or type and for another type of a field that
        exists, and with `field` = `schema` for too many fields.
        """
        for name, kind in self.fields.items():
            if name in added and added[name] != kind:
                wanted = "cannot be removed" if added[name] is None else f"cannot become {added[name]!r:.40}"
                raise QueryError(
                    f"schema.{name}: the field has the type {kind} and {wanted}: documents are stored under it. "
                    "`lsr reindex --schema` makes a new collection with another schema from this one",
                    field=f"schema.{name}",
                )
        extended = MetadataSchema({**self.fields, **added})
        extended.check_size()
        return extended

    @property
    def arrow_fields(self) -> list[pa.Field[Any]]:
        """The columns, `metadata.<name>` each, in the schema's order."""
        return [pa.field(f"metadata.{name}", _ARROW_TYPES[kind]) for name, kind in self.fields.items()]

    def check(self, metadata: Mapping[str, Any]) -> bytes:
        """Check one document's metadata and return it as JSON; raises InvalidDocument naming the field."""
        for name, kind in self.fields.items():
            value = metadata.get(name)
            if value is not None:
                parse_value(kind, value, f"metadata.{name}")
        _check_json(metadata, "metadata", depth=0)
        try:
            encoded = orjson.dumps(dict(metadata))
        except (TypeError, ValueError) as error:
            raise InvalidDocument("invalid_metadata", f"metadata: {error}", field="metadata") from None
        if len(encoded) > MAX_METADATA_BYTES:
            raise InvalidDocument("invalid_metadata", "metadata is longer than 1 MiB of JSON", field="metadata")
        return encoded

    def columns(self, metadata: Sequence[Mapping[str, Any]]) -> list[pa.Array[Any]]:
        """Return one Arrow array for each field, with one value for each document; `metadata` is already checked."""
        arrays = []
        for name, kind in self.fields.items():
            path = f"metadata.{name}"
            values = (document.get(name) for document in metadata)
            column = [None if value is None else parse_value(kind, value, path) for value in values]
            arrays.append(pa.array(column, type=_ARROW_TYPES[kind]))
        return arrays


def parse_value(kind: FieldType, value: object, path: str) -> Any:
    """Return a value as its column stores it; raises InvalidDocument, which names `path`."""
    try:
        return _PARSERS[kind](value)
    except ValueError as error:
        detail = f"{path}: {value!r:.80} is not of the type {kind}: {error}"
        raise InvalidDocument("invalid_metadata", detail, field=path) from None


def arrow_type(kind: FieldType) -> pa.DataType:
    """The Arrow type of a field's column."""
    return _ARROW_TYPES[kind]


def _parse_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("an integer is needed")
    if not -(2**63) <= value < 2**63:
        raise ValueError("it does not fit in 64 bits")
    return value


def _parse_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a number is needed")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("it is not finite")
    return number + 0.0  # one zero: minus zero would be another value to a lookup


def _parse_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def _parse_keyword(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a string is needed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("it has a lone surrogate, which is not valid Unicode") from None
    return value


def _parse_keywords(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("a list of strings is needed")
    return [_parse_keyword(item) for item in value]


def _parse_date(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("an ISO 8601 string is needed")
    if _PART_OF_A_DATE.fullmatch(value):
        raise ValueError(f"a whole date is needed, such as {value + '-01-01'[: 10 - len(value)]}")
    moment = datetime.fromisoformat(value)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is out of range in UTC") from None


_PARSERS: dict[FieldType, Callable[[object], Any]] = {
    "int": _parse_int,
    "float": _parse_float,
    "bool": _parse_bool,
    "keyword": _parse_keyword,
    "keyword[]": _parse_keywords,
    "date": _parse_date,
}

_MAX_DEPTH = 16
_LEAST_INTEGER, _LARGEST_INTEGER = -(2**63), 2**64 - 1  # what the stored JSON holds exactly


def _check_json(value: object, path: str, depth: int) -> None:
    """Refuse what a JSON round trip would change: NaN, infinities, integers beyond 64 bits, other types, deep nesting,
    strings that are not Unicode, keys that are not strings."""
    if depth > _MAX_DEPTH:
        raise InvalidDocument("invalid_metadata", f"{path} is nested deeper than {_MAX_DEPTH} levels", field=path)
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_unicode(value, path)
    elif isinstance(value, int):
        if not _LEAST_INTEGER <= value <= _LARGEST_INTEGER:
            detail = f"{path}: the integer {_shortened(value)} does not fit in 64 bits; write it as a string"
            raise InvalidDocument("invalid_metadata", detail, field=path)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidDocument("invalid_metadata", f"{path}: {value} is not finite", field=path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidDocument("invalid_metadata", f"{path}: the key {key!r} is not a string", field=path)
            _check_unicode(key, path)
            _check_json(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            _check_json(item, f"{path}[{position}]", depth + 1)
    else:
        detail = f"{path}: {type(value).__name__} is not a type of JSON"
        raise InvalidDocument("invalid_metadata", detail, field=path)


def _check_unicode(text: str, path: str) -> None:
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        detail = f"{path} has a lone surrogate, which is not valid Unicode"
        raise InvalidDocument("invalid_metadata", detail, field=path) from None


def _shortened(value: int) -> str:
    """Return an integer in decimal, or its first digits: Python writes no more than some thousand digits."""
    if value.bit_length() > 400:
        return f"with {value.bit_length()} bits"
    return str(value) if value.bit_length() <= 128 else f"{str(value)[:40]}…"
