"""Counts of metadata values over the ranked documents, or over all that match.

A keyword, keyword[] or bool field gives its most frequent values. An int, float or date field gives ranges: those whose
edges were given, or steps of an interval (for dates year, month or day as well), or ten equal ones between the smallest
and the largest value.

    {"tag": {"values": [{"value": "food", "count": 12}, …], "other": 3, "missing": 1},
     "year": {"buckets": [{"gte": 2010, "lt": 2020, "count": 7}, …], "min": 2011, "max": 2019, "missing": 0}}

`other` counts the values beyond the first ones, `missing` the documents without the field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lsr.errors import InvalidDocument, QueryError, UnknownField
from lsr.metadata import FieldType, MetadataSchema, parse_value
from lsr.search.request import Facets, is_number
from lsr.search.rows import Allowed, Rows, RowSpace, ValueCounts

MAX_BUCKETS: Final = 1_000
_EQUAL_RANGES: Final = 10
_LARGEST_STEP: Final = 2.0**53  # integers up to it are exact in a float64
_CALENDAR: Final = {"year": "Y", "month": "M", "day": "D"}


def check_facets(facets: Facets, schema: MetadataSchema) -> None:
    """Raise UnknownField, QueryError for a field that the schema does not have, or buckets that it cannot have."""
    for name in facets.fields:
        kind = schema.fields.get(name)
        if kind is None:
            known = ", ".join(schema.fields) or "none: it was created without a schema"
            raise UnknownField(f"facets: the collection has no field {name!r}; it has {known}", field="facets.fields")
        if name in facets.buckets:
            if kind not in ("int", "float", "date"):
                raise QueryError(f"facets.buckets.{name}: a {kind} field has no ranges", field="facets.buckets")
            _edges(facets.buckets[name], kind, name, None)


def count_facets(space: RowSpace, chosen: Rows | Allowed, facets: Facets, schema: MetadataSchema) -> dict[str, Any]:
    """Return the counts of each field over the chosen rows; `check_facets` has passed them."""
    columns = space.value_counts(chosen, [f"metadata.{name}" for name in facets.fields])
    found: dict[str, Any] = {}
    for name in facets.fields:
        column = columns[f"metadata.{name}"]
        kind = schema.fields[name]
        if kind in ("int", "float", "date"):
            found[name] = _ranges(column, kind, facets.buckets.get(name), name)
        else:
            found[name] = _values(column, facets.size)
    return found


def _values(counted: ValueCounts, size: int) -> dict[str, Any]:
    pairs: list[tuple[Any, int]] = list(zip(counted.values.to_pylist(), counted.counts.tolist(), strict=True))
    pairs.sort(key=lambda pair: (-pair[1], str(pair[0])))
    return {
        "values": [{"value": value, "count": count} for value, count in pairs[:size]],
        "other": sum(count for _, count in pairs[size:]),
        "missing": counted.missing,
    }


def _ranges(counted: ValueCounts, kind: FieldType, buckets: Any, name: str) -> dict[str, Any]:
    present, missing = counted.values, counted.missing
    if kind == "date":
        values = present.cast(pa.int64()).to_numpy().astype(np.float64)
    else:
        values = present.cast(pa.float64(), safe=False).to_numpy() + 0.0  # one zero
    if not len(values):
        return {"buckets": [], "min": None, "max": None, "missing": missing}
    low, high = float(values.min()), float(values.max())
    edges = _edges(buckets, kind, name, (low, high))
    if len(edges) > 1:
        counts = np.histogram(values, bins=edges, weights=counted.counts)[0]
    else:
        counts = np.array([counted.counts.sum()])
    # NumPy's last range holds its upper edge; here none does.
    if buckets is not None and len(edges) > 1:
        counts[-1] -= counted.counts[values == edges[-1]].sum()
    shown = [
        {"gte": _shown(low, kind), "lt": _shown(high, kind), "count": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=False)
    ]
    if buckets is None and shown:  # the largest value is in the last of the equal ranges
        shown[-1] = {"gte": shown[-1]["gte"], "lte": shown[-1].pop("lt"), "count": shown[-1]["count"]}
    least, most = _shown(low, kind), _shown(high, kind)
    if kind == "int":  # exact, also beyond 2**53
        ends: Any = pc.min_max(present)
        least, most = ends["min"].as_py(), ends["max"].as_py()
    return {"buckets": shown, "min": least, "max": most, "missing": missing}


def _edges(buckets: Any, kind: FieldType, name: str, span: tuple[float, float] | None) -> NDArray[np.float64]:
    """Return the edges of the ranges over `span` (None: only check what was given)."""
    where = f"facets.buckets.{name}"
    if buckets is None:
        low, high = span or (0.0, 1.0)
        if kind == "int" and high - low < _EQUAL_RANGES:
            return np.arange(low, high + 2)
        # A quarter of the span is finite, whatever the two ends are.
        return 4 * np.linspace(low / 4, high / 4, _EQUAL_RANGES + 1) if high > low else np.array([low, low])
    if isinstance(buckets, list):
        if not 2 <= len(buckets) <= MAX_BUCKETS + 1:
            raise QueryError(f"{where}: 2 to {MAX_BUCKETS + 1} edges are needed", field=where)
        edges = np.array([_number(edge, kind, where) for edge in buckets])
        if not (edges[1:] > edges[:-1]).all():
            raise QueryError(f"{where}: the edges must ascend", field=where)
        return edges
    if not isinstance(buckets, Mapping) or set(buckets) != {"interval"}:
        raise QueryError(f'{where}: a list of edges is needed, or {{"interval": …}}', field=where)
    interval = buckets["interval"]
    if kind == "date":
        if interval not in _CALENDAR:
            raise QueryError(f"{where}.interval must be one of {', '.join(_CALENDAR)}", field=f"{where}.interval")
        return _calendar(str(interval), where, span)
    if not is_number(interval) or interval <= 0:
        detail = f"{where}.interval must be a number above 0, not {interval!r:.80}"
        raise QueryError(detail, field=f"{where}.interval")
    if span is None:
        return np.zeros(2)
    low, high = (value / float(interval) for value in span)  # of Python floats: infinite where it overflows
    if max(abs(low), abs(high)) > _LARGEST_STEP:
        raise QueryError(f"{where}.interval: {interval!r} is too small for the values of this field", field=where)
    first, last = math.floor(span[0] / interval), math.floor(span[1] / interval) + 1
    _check_count(last - first, where)
    return np.arange(first, last + 1) * float(interval)


def _calendar(unit: str, where: str, span: tuple[float, float] | None) -> NDArray[np.float64]:
    if span is None:
        return np.zeros(2)
    first, last = (np.datetime64(int(value), "us").astype(f"datetime64[{_CALENDAR[unit]}]") for value in span)
    _check_count(int((last - first).astype(int)) + 1, where)
    return np.arange(first, last + 2).astype("datetime64[us]").astype(np.int64).astype(np.float64)


def _check_count(count: int, where: str) -> None:
    if count > MAX_BUCKETS:
        raise QueryError(f"{where}: {count} ranges; at most {MAX_BUCKETS} are counted", field=where)


def _number(value: object, kind: FieldType, where: str) -> float:
    try:
        parsed = parse_value(kind, value, where)
    except InvalidDocument as error:
        raise QueryError(error.detail, field=where) from None
    return parsed.timestamp() * 1e6 if kind == "date" else float(parsed)


def _shown(value: float, kind: FieldType) -> Any:
    if kind == "date":
        return datetime.fromtimestamp(value / 1e6, UTC).isoformat().replace("+00:00", "Z")
    return int(value) if kind == "int" and float(value).is_integer() else float(value)
