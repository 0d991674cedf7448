"""How a router and its replicas write messages: MessagePack, with the few types that a search exchanges.

Nothing in a message names code to run: a type is a number in `_TYPES`, so bytes from elsewhere can only become these
values. Arrays of numbers and Arrow tables travel as their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import Any, Final

import msgpack
import numpy as np
import pyarrow as pa

from index import SearchParameters
from index.searching.calibration import Calibration, Point
from lsr.documents import DenseInput, Document, SparseByIndex, SparseByToken
from lsr.errors import LsrError
from lsr.results import Damage
from lsr.search.query_vectors import QueryVector
from lsr.search.rows import ValueCounts
from lsr.sharding.selection import Both, Either, Everything, Filtered, Matching, Only, Without
from lsr.sharding.shard import Fetched, Found, ShardInfo, Wanted

# The order is part of the protocol; router and replicas run the same version.
_TYPES: Final[tuple[type, ...]] = (
    QueryVector, SearchParameters, Wanted, Found, Fetched, ShardInfo, Damage, ValueCounts, Calibration, Point,
    Document, SparseByToken, SparseByIndex, DenseInput,
    Everything, Filtered, Only, Without, Matching, Both, Either,
)  # fmt: skip
_NUMBERS: Final = {kind: number for number, kind in enumerate(_TYPES)}
_DTYPES: Final = frozenset({"<i8", "<i4", "<u8", "<u4", "<f4", "<f8", "|i1", "|u1", "|b1"})
_VALUE, _ARRAY, _SCALAR, _TUPLE, _TABLE, _COLUMN, _PATH, _TIME, _DATE = range(1, 10)


class MalformedMessage(LsrError):
    """Bytes that `to_bytes` cannot have made."""


def to_bytes(value: Any) -> bytes:
    """Return a message; raises TypeError for a value of another type."""
    packed: bytes = msgpack.packb(value, default=_extension, strict_types=True)
    return packed


def from_bytes(content: bytes) -> Any:
    """Return what `to_bytes` was given; raises MalformedMessage."""
    try:
        return msgpack.unpackb(content, ext_hook=_value, strict_map_key=False, max_ext_len=len(content))
    except (
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        RecursionError,
        pa.ArrowException,
        msgpack.UnpackException,
    ) as error:
        raise MalformedMessage(f"a message cannot be read ({error}): run one version on all machines") from error


def _extension(value: Any) -> Any:
    number = _NUMBERS.get(type(value))
    if number is not None:
        content = tuple(value) if isinstance(value, tuple) else tuple(getattr(value, one) for one in _fields(number))
        return msgpack.ExtType(_VALUE, to_bytes([number, *content]))
    if type(value) is tuple:
        return msgpack.ExtType(_TUPLE, to_bytes(list(value)))
    if isinstance(value, np.ndarray):
        return msgpack.ExtType(_ARRAY, to_bytes([_dtype(value.dtype), list(value.shape), value.tobytes()]))
    if isinstance(value, Mapping):
        return dict(value)
    for kinds, code, convert in _OTHERS:
        if isinstance(value, kinds):
            return msgpack.ExtType(code, convert(value))
    raise TypeError(f"a {type(value).__name__} cannot be sent to a shard")


def _value(code: int, content: bytes) -> Any:
    if code == _VALUE:
        number, *values = from_bytes(content)
        return _TYPES[number](*values)
    if code == _TUPLE:
        return tuple(from_bytes(content))
    if code == _ARRAY:
        dtype, shape, data = from_bytes(content)
        return (
            np.frombuffer(data, dtype=_checked(dtype)).reshape(shape).copy()
        )  # kernels are compiled for writable ones
    if code == _SCALAR:
        dtype, data = from_bytes(content)
        return np.frombuffer(data, dtype=_checked(dtype))[0]
    return _READERS[code](content)


def _fields(number: int) -> tuple[str, ...]:
    return _FIELDS[number]


def _dtype(dtype: np.dtype[Any]) -> str:
    return _checked(dtype.newbyteorder("<").str)


def _checked(dtype: str) -> str:
    if dtype not in _DTYPES:
        raise TypeError(f"an array of {dtype} cannot be sent to a shard")
    return dtype


def _table_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _read_table(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


def _column_bytes(column: Any) -> bytes:
    return _table_bytes(pa.table({"values": column}))


def _read_column(content: bytes) -> Any:
    return _read_table(content).column("values").combine_chunks()


_FIELDS: Final = tuple(tuple(one.name for one in fields(kind)) if is_dataclass(kind) else () for kind in _TYPES)
_OTHERS: Final[tuple[tuple[Any, int, Callable[[Any], bytes]], ...]] = (
    (np.generic, _SCALAR, lambda value: to_bytes([_dtype(value.dtype), value.tobytes()])),
    (pa.Table, _TABLE, _table_bytes),
    (pa.Array, _COLUMN, _column_bytes),
    (PurePath, _PATH, lambda value: str(value).encode()),
    (datetime, _TIME, lambda value: value.isoformat().encode()),
    (date, _DATE, lambda value: value.isoformat().encode()),
)
_READERS: Final[dict[int, Callable[[bytes], Any]]] = {
    _TABLE: _read_table,
    _COLUMN: _read_column,
    _PATH: lambda content: Path(content.decode()),
    _TIME: lambda content: datetime.fromisoformat(content.decode()),
    _DATE: lambda content: date.fromisoformat(content.decode()),
}
