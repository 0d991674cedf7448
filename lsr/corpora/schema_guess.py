"""A metadata schema guessed from the documents of a corpus (`lsr index --schema auto`).

The whole corpus is read, so that every value has the guessed type. A field of text cells (TSV, CSV) is an int, float,
bool or date if all of its cells are; other fields have the type of their values. A field is left out, and the reason is
given, if its values have several types, are objects, or are texts too long to be compared as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.text_cells import typed
from lsr.documents import Document
from lsr.errors import InvalidDocument, QueryError
from lsr.metadata import FieldType, MetadataSchema, parse_value

MAX_KEYWORD: Final = 256  # characters of a text that is compared as a whole

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_ORDER: Final[tuple[FieldType, ...]] = ("bool", "int", "float", "date", "keyword", "keyword[]")
_TEXT_KINDS: Final[tuple[FieldType, ...]] = ("int", "float", "bool", "date")


@dataclass
class GuessedSchema:
    """The types by field, and for each field that is left out the reason."""

    fields: dict[str, FieldType] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def guess_schema(
    lines: Iterable[CorpusLine], *, text_cells: bool, progress: Callable[[], None] | None = None
) -> GuessedSchema:
    """Return a schema that all values of the corpus have; `text_cells` are parsed, see text_cells.py."""
    possible: dict[str, set[FieldType]] = {}
    reasons: dict[str, str] = {}
    for line in lines:
        if progress is not None:
            progress()
        if not isinstance(line.content, Document):
            continue
        for name, value in line.content.metadata.items():
            if value is None or name in reasons or (text_cells and not str(value).strip()):
                continue
            kinds, reason = _kinds(name, value, text_cells)
            found = possible.setdefault(name, set(kinds)) & kinds
            possible[name] = found
            if not found:
                reasons[name] = reason or "its values have several types"
    guessed = GuessedSchema()
    for name, kinds in possible.items():
        if name not in reasons:
            try:
                kind = next(kind for kind in _ORDER if kind in kinds)
                MetadataSchema({name: kind})
                guessed.fields[name] = kind
            except QueryError:
                reasons[name] = "its name cannot be that of a field"
    guessed.left_out = reasons
    return guessed


def _kinds(name: str, value: Any, text_cells: bool) -> tuple[set[FieldType], str]:
    """Return (the types that a value can have, why it has none)."""
    if isinstance(value, str) and len(value) > MAX_KEYWORD:
        return set(), f"it holds texts of more than {MAX_KEYWORD} characters"
    if text_cells:
        kinds = {kind for kind in _TEXT_KINDS if _fits(kind, typed(value, kind), name)}
        return cast("set[FieldType]", kinds | {"keyword"}), ""
    if isinstance(value, bool):
        return {"bool"}, ""
    if isinstance(value, int):
        return ({"int", "float"}, "") if _fits("int", value, name) else ({"float"}, "")
    if isinstance(value, float):
        return {"float"}, ""
    if isinstance(value, str):
        return ({"date", "keyword"}, "") if _fits("date", value, name) else ({"keyword"}, "")
    if isinstance(value, list) and all(isinstance(item, str) and len(item) <= MAX_KEYWORD for item in value):
        return {"keyword[]"}, ""
    return set(), f"it holds {'lists' if isinstance(value, list) else 'objects'}"


def _fits(kind: FieldType, value: object, name: str) -> bool:
    if kind == "date" and not (isinstance(value, str) and _DATE.match(value)):
        return False
    if kind != "date" and isinstance(value, str):
        return False
    try:
        parse_value(kind, value, name)
    except InvalidDocument:
        return False
    return True
