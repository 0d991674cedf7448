"""Cells of text tables (TSV, CSV) as values: a collection's schema says which type a column has."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from lsr.metadata import FieldType

_INTEGER = re.compile(r"[+-]?\d+")
_BOOLEANS = {"true": True, "false": False}


def typed_row(row: Mapping[str, str], types: Mapping[str, FieldType]) -> dict[str, object]:
    """Return a row with the cells of `types` as values of those types."""
    return {name: typed(cell, types[name]) if name in types else cell for name, cell in row.items()}


def typed(cell: str, kind: FieldType) -> object:
    """Return a cell as a value of a type; None for an empty one, the text itself where it is not of that type.

    A keyword[] is a JSON list of strings, or one value.
    """
    text = cell.strip()
    if not text:
        return None
    if kind == "int":
        return int(text) if _INTEGER.fullmatch(text) and len(text) < 20 else cell
    if kind == "float":
        try:
            return float(text)
        except ValueError:
            return cell
    if kind == "bool":
        return _BOOLEANS.get(text.lower(), cell)
    if kind == "keyword[]":
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            return [cell]
        return found if isinstance(found, list) else [cell]
    return text if kind == "date" else cell
