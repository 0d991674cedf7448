"""Numbers of the metadata, and the age of a date, added to the score.

    linear      weight * value
    log         weight * log1p(max(value, 0))
    saturation  weight * value / (value + pivot), 0 for negative values
    a date      weight * 0.5 ** (age in days / half_life_days); the future counts as now

A document without the field gets nothing, and no boost adds more than MAX_SCORE either way, so that a score is always
finite. What a boost added is part of the hit's explanation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lsr.errors import QueryError, UnknownField
from lsr.metadata import MetadataSchema
from lsr.search.request import MAX_SCORE, Boost
from lsr.search.rows import Rows, RowSpace

_KINDS = ("int", "float")
_MICROSECONDS_PER_DAY = 86_400_000_000
_LARGEST = 1e300  # times the largest weight it is still finite


class Boosted(NamedTuple):
    """What one boost adds to each row, float64[n]."""

    boost: Boost
    added: NDArray[np.float64]


def check_boosts(boosts: Sequence[Boost], schema: MetadataSchema) -> None:
    """Raise QueryError, UnknownField unless the type of each boost's field fits the boost."""
    for boost in boosts:
        kind = schema.fields.get(boost.field)
        where = f"boosts.{boost.field}"
        if kind is None:
            raise UnknownField(f"{where}: the collection has no field {boost.field!r}", field=where)
        if kind == "date":
            if boost.half_life_days is None:
                raise QueryError(f"{where}: a date needs half_life_days", field=f"{where}.half_life_days")
        elif kind not in _KINDS:
            raise QueryError(f"{where}: a {kind} field is neither a number nor a date", field=where)
        elif boost.half_life_days is not None:
            raise QueryError(f"{where}: only a date has half_life_days", field=f"{where}.half_life_days")


def boosts_of(space: RowSpace, rows: Rows, boosts: Sequence[Boost], schema: MetadataSchema) -> list[Boosted]:
    """Return what each boost adds to each row; `check_boosts` has passed them."""
    if not boosts:
        return []
    names = list(dict.fromkeys(f"metadata.{boost.field}" for boost in boosts))
    columns = space.columns(rows, names)
    return [Boosted(boost, _added(columns.column(f"metadata.{boost.field}"), boost, schema)) for boost in boosts]


def _added(column: pa.ChunkedArray[Any], boost: Boost, schema: MetadataSchema) -> NDArray[np.float64]:
    valid: Any = pc.is_valid(column)
    present = valid.to_numpy()
    if schema.fields[boost.field] == "date":
        moments: NDArray[np.float64] = _numbers(column.cast(pa.int64()))
        now = (boost.now or datetime.now(UTC)).timestamp() * 1e6
        days = np.maximum(now - moments, 0.0) / _MICROSECONDS_PER_DAY
        value = np.exp2(-days / float(boost.half_life_days or 1.0))
    else:
        number: NDArray[np.float64] = _numbers(column.cast(pa.float64(), safe=False))
        positive = np.maximum(number, 0.0)
        if boost.function == "log":
            value = np.log1p(positive)
        else:
            value = positive / (positive + boost.pivot) if boost.function == "saturation" else number
    return np.where(present, np.clip(boost.weight * value, -MAX_SCORE, MAX_SCORE), 0.0)


def _numbers(column: Any) -> NDArray[np.float64]:
    """Return a column's numbers, 0 where there is none."""
    numbers: NDArray[np.float64] = pc.fill_null(column, 0).to_numpy().astype(np.float64)
    return np.clip(numbers, -_LARGEST, _LARGEST)
