"""The rows of an Arrow batch as Python values, each on its own: one bad cell refuses its row, not the batch."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lsr.errors import InvalidDocument

# What reading a cell raises: bytes that are not UTF-8, a date that Python cannot hold, a type without a Python value.
_UNREADABLE: Final = (
    ValueError,
    OverflowError,
    TypeError,
    AttributeError,
    NotImplementedError,
    ImportError,
    pa.ArrowException,
)


def rows_of(batch: pa.RecordBatch, *, checked: bool) -> Iterator[dict[str, Any] | InvalidDocument]:
    """Yield each row by column, or the error that names the column.

    checked  False: the batch comes from a mapped file, whose offsets are checked here. Raises pa.ArrowInvalid for ones
             that point outside the data.
    """
    try:
        if not checked:
            batch.validate(full=True)
        columns = [_cells(column) for column in batch.columns]
    except _UNREADABLE as error:
        if not checked and not _is_about_text(error):
            raise
        yield from (_row(batch.slice(at, 1)) for at in range(batch.num_rows))
        return
    names = batch.schema.names
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def as_json(path: str, cell: object) -> object:
    """Return a cell as a JSON value, NaN as None; raises InvalidDocument naming the column."""
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return _as_json(path, cell)


def _as_json(path: str, cell: object) -> object:
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    if isinstance(cell, decimal.Decimal):
        cell = _exact(path, cell)
    if isinstance(cell, uuid.UUID):
        return str(cell)
    if isinstance(cell, dict):
        return {str(key): _as_json(f"{path}.{key}", value) for key, value in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [_as_json(f"{path}[{position}]", value) for position, value in enumerate(cell)]
    if cell is None or isinstance(cell, (str, bool, int)):
        return cell
    if isinstance(cell, float) and math.isfinite(cell):
        return cell
    detail = f"{path}: {cell!r:.40} cannot be written as JSON"
    raise InvalidDocument("invalid_field", detail, field=path)


def _exact(path: str, number: decimal.Decimal) -> int | float:
    """Return a decimal as the JSON number that reads back as it; raises InvalidDocument where there is none."""
    if not number.is_finite():
        return float(number)
    if number == number.to_integral_value():
        return int(number)
    if decimal.Decimal(repr(float(number))) != number:
        detail = f"{path}: the decimal {number} does not fit in a 64-bit float; write it as a string"
        raise InvalidDocument("invalid_field", detail, field=path)
    return float(number)


def _row(row: pa.RecordBatch) -> dict[str, Any] | InvalidDocument:
    values: dict[str, Any] = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            column.validate(full=True)
            (values[name],) = _cells(column)
        except _UNREADABLE as error:
            if isinstance(error, UnicodeDecodeError) or _is_about_text(error):
                return InvalidDocument("invalid_utf8", f"{name}: the text is not valid UTF-8", field=name)
            return InvalidDocument("invalid_field", f"{name}: the value cannot be read: {error}", field=name)
    return values


def _cells(column: Any) -> list[Any]:
    """Return a column's values; a time with nanoseconds, which no type of Python has, as ISO 8601 text."""
    kind = column.type
    if not pa.types.is_timestamp(kind) or kind.unit != "ns":
        return list(column.to_pylist())
    times = column.cast(pa.timestamp("us", kind.tz), safe=False).to_pylist()
    texts = pc.strftime(column, format=f"%Y-%m-%dT%H:%M:%S{'%z' if kind.tz else ''}").to_pylist()
    finer = [nanoseconds is not None and nanoseconds % 1000 for nanoseconds in column.cast(pa.int64()).to_pylist()]
    return [text if needed else time for time, text, needed in zip(times, texts, finer, strict=True)]


def _is_about_text(error: BaseException) -> bool:
    return isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
