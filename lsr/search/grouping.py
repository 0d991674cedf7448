"""One hit per group, and near-duplicates folded into the better hit.

Both walk down the ranking and stop when enough hits are found, so they read no more documents than that. A document
without the group's field is a group by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.errors import QueryError, UnknownField
from lsr.metadata import MetadataSchema
from lsr.search.request import Collapse, GroupBy
from lsr.search.rows import Rows, RowSpace
from lsr.storage.generation import FoundDocument

PARENT = "parent"
_CHUNK = 64


@dataclass(slots=True)
class Kept:
    """A hit that represents others. `members` and `duplicates` are positions in the ranking."""

    at: int
    value: Any = None
    members: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)


def check_group_by(group_by: GroupBy, schema: MetadataSchema) -> None:
    """Raise UnknownField, QueryError unless the field is `parent` or has one value."""
    if group_by.field == PARENT:
        return
    kind = schema.fields.get(group_by.field)
    if kind is None:
        raise UnknownField(f"group_by: the collection has no field {group_by.field!r}", field="group_by")
    if kind not in ("keyword", "int", "bool"):
        raise QueryError(f"group_by: a {kind} field cannot be grouped by", field="group_by")


def grouped(space: RowSpace, rows: Rows, group_by: GroupBy, most: int) -> list[Kept]:
    """Return the best hit of each of the first `most` groups, each with the next ones of its group."""
    found: list[Kept] = []
    of_value: dict[Any, Kept] = {}
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        for at, value in enumerate(_values(space, part, group_by.field), start=start):
            known = of_value.get(value) if value is not None else None
            if known is not None:
                if len(known.members) < group_by.size - 1:
                    known.members.append(at)
            elif len(found) < most:
                found.append(Kept(at, value))
                if value is not None:
                    of_value[value] = found[-1]
        if len(found) == most and (group_by.size == 1 or all(len(one.members) == group_by.size - 1 for one in found)):
            break
    return found


def collapsed(
    space: RowSpace,
    kept: Sequence[Kept],
    rows: Rows,
    collapse: Collapse,
    using: str,
    most: int,
    *,
    dense: bool,
) -> list[Kept]:
    """Return the first `most` hits, with later ones whose vector is as near as `collapse` says folded into them."""
    found: list[Kept] = []
    vectors: list[Any] = []
    for one, vector in _vectors(space, kept, rows, using, dense=dense):
        near = next(
            (place for place, other in enumerate(vectors) if _cosine(vector, other) >= collapse.similarity), None
        )
        if near is not None:
            found[near].duplicates.append(one.at)
        elif len(found) < most:
            found.append(one)
            vectors.append(vector)
        else:
            break
    return found


def _values(space: RowSpace, rows: Rows, name: str) -> list[Any]:
    if name == PARENT:
        return [place.document().parent for place in space.places(rows)]
    values: list[Any] = space.columns(rows, [f"metadata.{name}"]).column(0).to_pylist()
    return values


def _vectors(
    space: RowSpace, kept: Sequence[Kept], rows: Rows, using: str, *, dense: bool
) -> Iterator[tuple[Kept, Any]]:
    """Yield each hit with its vector, brought to length 1."""
    for first in range(0, len(kept), _CHUNK):
        part = kept[first : first + _CHUNK]
        wanted = rows[np.array([one.at for one in part], dtype=np.int64)]
        places = space.places(wanted, dense=[using]) if dense else space.places(wanted, sparse=[using])
        for one, place in zip(part, places, strict=True):
            yield one, _dense(place, using) if dense else _sparse(place, using)


def _dense(place: FoundDocument, using: str) -> NDArray[np.float64]:
    values, _ = place.dense(using)
    vector: NDArray[np.float64] = values.astype(np.float64)
    length = float(np.linalg.norm(vector))
    if length > 0:
        vector /= length
    return vector


def _sparse(place: FoundDocument, using: str) -> dict[int, float]:
    term_ids, impacts = place.vector(using)
    length = float(np.linalg.norm(impacts.astype(np.float64))) or 1.0
    return dict(zip(term_ids.tolist(), (impacts / length).tolist(), strict=True))


def _cosine(one: Any, other: Any) -> float:
    if isinstance(one, dict):
        small, large = sorted((one, other), key=len)
        return float(sum(weight * large.get(term, 0.0) for term, weight in small.items()))
    return float(one @ other)
