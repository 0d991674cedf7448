"""Metadata filters: checked against the schema, then evaluated on Arrow columns.

    {"year": {"gte": 2019, "lt": 2024}, "tag": {"in": ["food", "travel"]}, "not": {"lang": "fr"}}

All entries of an object must be true. A key is a field of the schema, or `and` / `or` with a list of filters, or `not`
with one filter. A field has a value (equal to it), a list (equal to one of its values), or an object of comparisons,
which must all be true:

    eq  ne  in             every type; a keyword[] field equals a value when one of its items does
    gt  gte  lt  lte       int, float, date
    exists                 true or false

`ids` takes a list of document ids, unless the schema has a field of that name.
A document without the field fails every comparison except `exists: false` and `ne`; `not` turns a filter around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lsr.errors import InvalidDocument, QueryError, UnknownField
from lsr.metadata import FieldType, MetadataSchema, arrow_type, parse_value

_IDS = "ids"
MAX_DEPTH = 16
MAX_CONDITIONS = 1024
MAX_VALUES = 10_000

Mask = NDArray[np.bool_]
_Node = Callable[[pa.Table], Mask]

_ORDERED: frozenset[FieldType] = frozenset({"int", "float", "date"})
_COMPARISONS = {"gt": pc.greater, "gte": pc.greater_equal, "lt": pc.less, "lte": pc.less_equal}


class Filter:
    """A checked filter, for collections with this schema."""

    def __init__(self, value: object, schema: MetadataSchema) -> None:
        """Raises QueryError, UnknownField; `field` is the path inside the filter."""
        self.value = value
        self._schema = schema
        self._conditions = 0
        self._node = self._compile(value, "filter", 1)

    def mask(self, columns: pa.Table) -> Mask:
        """Return which rows match, bool[rows]; `columns` holds a `metadata.<name>` column for each field."""
        return self._node(columns)

    def _compile(self, value: object, path: str, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise QueryError(f"{path}: a filter may be nested at most {MAX_DEPTH} levels deep", field=path)
        if not isinstance(value, Mapping):
            raise QueryError(f"{path}: a filter must be an object", field=path)
        return _all([self._entry(key, entry, f"{path}.{key}", depth) for key, entry in value.items()])

    def _entry(self, key: object, value: object, path: str, depth: int) -> _Node:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise QueryError(f"a filter may have at most {MAX_CONDITIONS} conditions", field=path)
        if key == "not":
            inner = self._compile(value, path, depth + 1)
            return lambda columns: ~inner(columns)
        if key in ("and", "or"):
            if not isinstance(value, list) or not value:
                raise QueryError(f"{path}: a list of filters is needed", field=path)
            nodes = [self._compile(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)]
            return _all(nodes) if key == "and" else _any(nodes)
        if key == _IDS and key not in self._schema.fields:
            return _with_ids(value, path)
        if not isinstance(key, str) or key not in self._schema.fields:
            known = ", ".join(self._schema.fields) or "none: it was created without a schema"
            raise UnknownField(f"{path}: the collection has no field {key!r}; its fields: {known}", field=path)
        kind = self._schema.fields[key]
        if not isinstance(value, Mapping):
            return self._comparison(key, kind, "in" if isinstance(value, list) else "eq", value, path)
        if not value:
            raise QueryError(f"{path}: a comparison is needed, such as {{'eq': …}}", field=path)
        return _all([self._comparison(key, kind, name, item, f"{path}.{name}") for name, item in value.items()])

    def _comparison(self, field: str, kind: FieldType, name: object, value: object, path: str) -> _Node:
        column = f"metadata.{field}"
        if name == "exists":
            if not isinstance(value, bool):
                raise QueryError(f"{path}: true or false is needed", field=path)
            return lambda columns: _numpy(pc.is_valid(columns.column(column))) == value
        if name in ("eq", "ne", "in"):
            if name != "in":
                values = [_operand(kind, value, path)]
            elif not isinstance(value, list) or len(value) > MAX_VALUES:
                raise QueryError(f"{path}: a list of at most {MAX_VALUES} values is needed", field=path)
            else:
                values = [_operand(kind, item, f"{path}[{at}]") for at, item in enumerate(value)]
            node = _is_in(column, kind, values)
            return (lambda columns: ~node(columns)) if name == "ne" else node
        if name in _COMPARISONS and kind in _ORDERED:
            bound = pa.scalar(_operand(kind, value, path), arrow_type(kind))
            compare = _COMPARISONS[str(name)]
            return lambda columns: _numpy(compare(columns.column(column), bound))
        allowed = "eq, ne, in, gt, gte, lt, lte, exists" if kind in _ORDERED else "eq, ne, in, exists"
        raise QueryError(f"{path}: a {kind} field has no comparison {name!r}; use {allowed}", field=path)


def matches_everything(value: object) -> bool:
    """Whether a filter has no condition that a document could fail, as {}, {"and": [{}]} and {"not": {"ids": []}}.

    For callers that must not take an empty filter for a choice of documents. `Filter` checks the filter itself.
    """
    return _constant(value) is True


def _constant(value: object) -> bool | None:
    """Return what a filter is for every document, or None where that depends on the document."""
    if not isinstance(value, Mapping):
        return None
    entries = [_constant_entry(key, entry) for key, entry in value.items()]
    return False if False in entries else None if None in entries else True


def _constant_entry(key: object, entry: object) -> bool | None:
    if key == "not":
        inner = _constant(entry)
        return None if inner is None else not inner
    if key in ("and", "or") and isinstance(entry, list):
        found = [_constant(item) for item in entry]
        decisive = key == "or"
        return decisive if decisive in found else None if None in found else not decisive
    if key == _IDS:
        return False if entry == [] else None
    if isinstance(entry, Mapping) and entry.get("in") == []:
        return False
    return None


def _operand(kind: FieldType, value: object, path: str) -> Any:
    try:
        return parse_value("keyword" if kind == "keyword[]" else kind, value, path)
    except InvalidDocument as error:
        raise QueryError(error.detail, field=path) from None


def _with_ids(value: object, path: str) -> _Node:
    if not isinstance(value, list) or len(value) > MAX_VALUES or not all(isinstance(item, str) for item in value):
        raise QueryError(f"{path}: a list of at most {MAX_VALUES} document ids is needed", field=path)
    # No document has an id that is not valid Unicode.
    return _is_in("id", "keyword", [item for item in value if item == item.encode(errors="replace").decode()])


def _is_in(column: str, kind: FieldType, values: list[Any]) -> _Node:
    if kind == "float" and 0.0 in values:
        values = [*values, -0.0]  # older collections may hold it; a lookup tells the two zeros apart
    if kind != "keyword[]":
        wanted = pa.array(values, arrow_type(kind))
        return lambda columns: _numpy(pc.is_in(columns.column(column), value_set=wanted))
    wanted = pa.array(values, pa.large_string())

    def any_item(columns: pa.Table) -> Mask:
        found = np.zeros(columns.num_rows, dtype=np.bool_)
        start = 0
        for chunk in columns.column(column).chunks:
            parents = pc.list_parent_indices(chunk).to_numpy()
            matches = pc.is_in(pc.list_flatten(chunk), value_set=wanted).to_numpy(zero_copy_only=False)
            found[start + parents[matches]] = True
            start += len(chunk)
        return found

    return any_item


def _all(nodes: list[_Node]) -> _Node:
    def every(columns: pa.Table) -> Mask:
        mask = np.ones(columns.num_rows, dtype=np.bool_)
        for node in nodes:
            mask &= node(columns)
        return mask

    return every


def _any(nodes: list[_Node]) -> _Node:
    def some(columns: pa.Table) -> Mask:
        mask = np.zeros(columns.num_rows, dtype=np.bool_)
        for node in nodes:
            mask |= node(columns)
        return mask

    return some


def _numpy(array: Any) -> Mask:
    """Return an Arrow boolean array as NumPy's; a null does not match."""
    mask: Mask = pc.fill_null(array, False).to_numpy()
    return mask.astype(np.bool_, copy=False)
