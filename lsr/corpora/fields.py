"""Which fields of a user's own objects and rows make a document: its id, title, text and metadata.

Without a choice, the usual names count: a JSON object has exactly the fields of a document, and a table's further
columns become metadata. With `Fields`, a file of any shape is read as it is:

    {"nr": 7, "headline": "…", "body": "…", "year": 2020}        Fields(id="nr", title="headline", text=("body",),
                                                                        metadata="rest")

Integer ids become decimal strings. Several text fields, and a list of strings, are joined by line ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from lsr.documents import Document, parse_document
from lsr.errors import CorpusUnreadable, InvalidDocument
from lsr.metadata import FieldType

ID_COLUMNS: Final = ("id", "_id", "docid", "doc_id")
ROW_NUMBER: Final = "@row"  # in place of an id field: the number of the line or row, from 1
REST: Final = "rest"

_OWN: Final = ("parent", "metadata", "sparse", "vectors")  # fields of a document that keep their names
_SHOWN: Final = 20  # field names in a message


@dataclass(frozen=True)
class Fields:
    """The chosen fields; None and () mean the usual names.

    metadata  names; "rest": all fields that are not used otherwise; None: a table's rest, and of JSON `metadata` only
    types     of text cells (TSV, CSV) that become metadata, as in a collection's schema
    """

    id: str | None = None
    title: str | None = None
    text: tuple[str, ...] = ()
    metadata: tuple[str, ...] | Literal["rest"] | None = None
    types: Mapping[str, FieldType] = field(default_factory=dict)

    @property
    def chosen(self) -> bool:
        """Whether anything differs from the usual names."""
        return self.id is not None or self.title is not None or bool(self.text) or self.metadata is not None

    @property
    def names(self) -> tuple[str, ...]:
        """All chosen names."""
        singles = tuple(name for name in (self.id, self.title) if name is not None and name != ROW_NUMBER)
        return (*singles, *self.text, *(self.metadata if isinstance(self.metadata, tuple) else ()))


USUAL: Final = Fields()


def document_of(row: Mapping[str, object], fields: Fields, number: int, *, table: bool) -> Document:
    """Return an object or row as a document; `number` is that of the line or row, `table` whether it is a table's.

    Raises InvalidDocument.
    """
    value, used = _text_fields(row, fields, number)
    own = {name: row[name] for name in _OWN if row.get(name) is not None}
    metadata = own.pop("metadata", {})
    if not isinstance(metadata, Mapping):  # a column of that name
        metadata = {"metadata": metadata} if table else _refused(metadata)
    if table:
        own = {name: cell for name, cell in own.items() if name == "parent"}
        parent = _named(row, ("parent",))
        if parent is not None and row[parent] is not None:
            own["parent"] = row[parent]
            used.add(parent)
    used |= {*own, "metadata"}
    if isinstance(fields.metadata, tuple):
        chosen = {name: row.get(name) for name in fields.metadata}
    elif fields.metadata == REST or table:
        chosen = {name: cell for name, cell in row.items() if name not in used}
    else:
        unknown = sorted(name for name in row if name not in used and name not in _OWN)
        if unknown:
            detail = f"the field {unknown[0]!r} is not used; the fields are {listed(row)}"
            raise InvalidDocument("unknown_field", detail, field=unknown[0])
        chosen = {}
    merged = {**metadata, **{name: cell for name, cell in chosen.items() if cell is not None}}
    return parse_document({**value, **own, **({"metadata": merged} if merged else {})})


def check_columns(name: str, columns: Sequence[str], fields: Fields) -> None:
    """Raise CorpusUnreadable, which names the option to give, unless a table has the columns that are needed."""
    missing = [column for column in fields.names if column not in columns]
    if missing:
        raise CorpusUnreadable(f"{name}: no column is named {missing[0]}; its columns are {listed(list(columns))}")
    usual = {column.lower() for column in columns}
    if fields.id is None and usual.isdisjoint(ID_COLUMNS):
        raise CorpusUnreadable(
            f"{name}: no column is named id; its columns are {listed(list(columns))}. Give the column of the ids with "
            f"--id, or --id {ROW_NUMBER} to number the rows"
        )
    if fields.title is None and not fields.text and usual.isdisjoint(("title", "text")):
        raise CorpusUnreadable(
            f"{name}: no column is named text or title; its columns are {listed(list(columns))}. Give the columns of "
            "the text with --text"
        )


def listed(names: Mapping[str, object] | list[str]) -> str:
    """Return field names for a message."""
    given = list(names)
    return ", ".join(given[:_SHOWN]) + (", …" if len(given) > _SHOWN else "")


def _text_fields(row: Mapping[str, object], fields: Fields, number: int) -> tuple[dict[str, object], set[str]]:
    """Return (id, title and text of the document, the names of the fields that they come from)."""
    identifier = fields.id or _named(row, ID_COLUMNS)
    value: dict[str, object] = {}
    used: set[str] = set()
    if identifier == ROW_NUMBER:
        value["id"] = str(number)
    elif identifier is None or identifier not in row:
        wanted = f"no field {fields.id!r}" if fields.id is not None else "no id"
        raise InvalidDocument("missing_id", f"{wanted}; the fields are {listed(row)}", field=fields.id or "id")
    elif row[identifier] is None:
        raise InvalidDocument("invalid_id", f"{identifier} is empty", field=identifier)
    else:
        cell = row[identifier]
        value["id"] = str(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell
        used.add(identifier)
    title = fields.title or _named(row, ("title",))
    texts = fields.text or tuple(name for name in (_named(row, ("text",)),) if name is not None)
    asked = [name for name in (title, *texts) if name is not None] or ["title", "text"]
    if fields.chosen and not any(name in row for name in (*asked, "sparse", "vectors")):
        detail = f"no field {' or '.join(map(repr, asked))}; the fields are {listed(row)}"
        raise InvalidDocument("missing_field", detail, field=asked[0])
    if title is not None:
        value["title"] = _text(row.get(title), title)
        used.add(title)
    parts = [_text(row.get(name), name) for name in texts]
    value["text"] = "\n".join(part for part in parts if part)
    return value, used | set(texts)


def _named(row: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    """Return the first field whose name, in lower case, is one of `names`."""
    return next((name for name in row if name.lower() in names), None)


def _text(cell: object, name: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, list) and all(isinstance(item, str) for item in cell):
        return "\n".join(cell)
    detail = f"{name} is a text or a list of texts, not {type(cell).__name__}"
    raise InvalidDocument("invalid_field", detail, field=name)


def _refused(value: object) -> Mapping[str, object]:
    detail = f"metadata is an object, not {type(value).__name__}"
    raise InvalidDocument("invalid_field", detail, field="metadata")
