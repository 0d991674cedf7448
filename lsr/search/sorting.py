"""All matching documents in the order of a metadata field; those without a value come last, equal ones by id."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lsr.errors import QueryError, UnknownField
from lsr.metadata import MetadataSchema
from lsr.search.request import Sort
from lsr.search.rows import Allowed, Rows, RowSpace


def check_sort(sort: Sort, schema: MetadataSchema) -> None:
    """Raise QueryError, UnknownField unless the field has one value that can be ordered."""
    kind = schema.fields.get(sort.field)
    if kind is None:
        raise UnknownField(f"sort.field: the collection has no field {sort.field!r}", field="sort.field")
    if kind == "keyword[]":
        raise QueryError(f"sort.field: {sort.field!r} is a list, which has no order", field="sort.field")


def sorted_rows(space: RowSpace, allowed: Allowed, sort: Sort, most: int) -> Rows:
    """Return the first `most` of the allowed rows in the order of the field."""
    name = f"metadata.{sort.field}"
    rows = space.first_by(allowed, name, sort.order, most)
    if not len(rows):
        return rows
    column = space.columns(rows, [name]).column(name).combine_chunks()
    direction: Literal["ascending", "descending"] = "ascending" if sort.order == "asc" else "descending"
    order = pc.array_sort_indices(column, order=direction, null_placement="at_end").to_numpy().astype(np.int64)
    # Equal values by id: as far as `most` reaches, and whatever ties with its last.
    ranks = _runs(column, order)
    if len(order) > most:
        order = order[ranks <= ranks[most - 1]]
        ranks = ranks[: len(order)]
    ids = space.ids(rows[order])
    by_value = sorted(range(len(order)), key=lambda at: (int(ranks[at]), ids[at]))
    return rows[order[np.array(by_value[:most], dtype=np.int64)]]


def _runs(column: pa.Array[Any], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for each place of the order, the number of its run of equal values."""
    taken = column.take(order)
    one, other = taken.slice(1), taken.slice(0, len(taken) - 1)
    equal: Any = pc.equal(one, other)
    same: Any = equal.fill_null(False)
    null: Any = pc.and_(pc.is_null(one), pc.is_null(other))
    differs = ~(same.to_numpy(zero_copy_only=False) | null.to_numpy(zero_copy_only=False))
    return np.concatenate([[0], np.cumsum(differs)])
