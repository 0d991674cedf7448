"""Options that say how a corpus is read: which fields make a document, and what happens to lines that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lsr.cli.output import say

if TYPE_CHECKING:
    from lsr.corpora import Corpus, Fields
    from lsr.errors import InvalidDocument

IdOption = Annotated[
    str | None,
    typer.Option("--id", help="Field with the ids; @row numbers the lines.  [default: id]", metavar="FIELD"),
]
TitleOption = Annotated[
    str | None, typer.Option("--title", help="Field with the titles.  [default: title]", metavar="FIELD")
]
TextOption = Annotated[
    str | None,
    typer.Option("--text", help="Fields with the text, joined by line ends.  [default: text]", metavar="FIELD,…"),
]
MetadataOption = Annotated[
    str | None,
    typer.Option(
        "--metadata",
        help="Fields to keep as metadata; rest: all others; none.  [default: rest in tables, metadata in JSON lines]",
        metavar="FIELD,…|rest|none",
    ),
]
StrictFlag = Annotated[
    bool, typer.Option("--strict", help="Fail at the first line that is refused, and for an input without a line.")
]

AUTO: Final = "auto"
SHOWN_OF_A_KIND: Final = 5
STOP_AFTER: Final = 1_000  # refused lines of one kind


def fields_of(identifier: str | None, title: str | None, text: str | None, metadata: str | None) -> Fields:
    """Return the fields that the options name; raises typer.BadParameter for an empty name."""
    from lsr.corpora import Fields
    from lsr.corpora.fields import REST

    names = None if metadata is None else _names(metadata, "--metadata")
    return Fields(
        id=None if identifier is None else _names(identifier, "--id", one=True)[0],
        title=None if title is None else _names(title, "--title", one=True)[0],
        text=() if text is None else _names(text, "--text"),
        metadata="rest" if names == (REST,) else () if names == ("none",) else names,
    )


def check_not_empty(corpus: Corpus, *, strict: bool) -> None:
    """Warn about an input without a line; with `strict` raise InputRefused."""
    from lsr.errors import InputRefused
    from lsr.input_file import shown_name

    if next(iter(corpus), None) is None:
        message = f"{shown_name(corpus.name)}: the input has no line"
        if strict:
            raise InputRefused(message)
        say(f"warning: {message}")


def guessed_schema(corpus: Corpus) -> Mapping[str, str]:
    """Return the schema that all documents have; print it, and which fields are left out of it."""
    import json

    from lsr.corpora import has_text_cells
    from lsr.corpora.schema_guess import guess_schema

    guessed = guess_schema(corpus, text_cells=has_text_cells(corpus))
    say(f"schema: {json.dumps(guessed.fields, ensure_ascii=False)}")
    for name, reason in guessed.left_out.items():
        say(f"schema: {name} is left out: {reason}")
    return guessed.fields


class ProblemLog:
    """Reports the refused lines of one corpus as they are found: the first ones of each kind, with what would help."""

    def __init__(self, corpus_name: str, *, strict: bool = False) -> None:
        from lsr.input_file import shown_name

        self.count = 0
        self._shown = 0
        self.name = shown_name(corpus_name)
        self._strict = strict
        self._kinds: dict[tuple[str, str], int] = {}

    def add(self, line_number: int, error: InvalidDocument) -> None:
        """Report one line.

        Raises InputRefused in strict mode, and after STOP_AFTER lines of one kind that are most of the lines so far.
        """
        from lsr.errors import InputRefused

        kind = (error.code, (error.field or "").split(".", maxsplit=1)[0])
        of_kind = self._kinds[kind] = self._kinds.get(kind, 0) + 1
        self.count += 1
        hint = hint_for(error)
        message = f"{self.place(line_number)}: {error}"
        if self._strict:
            raise InputRefused(f"{message}{f'. {hint}' if hint else ''}")
        if of_kind <= SHOWN_OF_A_KIND:
            self._shown += 1
            say(message + (f". {hint}" if hint and of_kind == 1 else ""))
        if of_kind >= STOP_AFTER and of_kind > line_number / 2:
            raise InputRefused(
                f"{self.name}: stopped at line {line_number:,}: {of_kind:,} lines are refused for the same reason: "
                f"{error}{f'. {hint}' if hint else ''}"
            )

    def place(self, line_number: int) -> str:
        """Return how a line is named in messages."""
        return f"{self.name}:{line_number}"

    def close(self) -> None:
        """Report the number of lines that were not shown."""
        if self.count > self._shown:
            say(f"and {self.count - self._shown:,} more lines like these")


def hint_for(error: InvalidDocument) -> str:
    """Return which option would accept a line that is refused, or an empty text."""
    name = error.field or ""
    if error.code == "unknown_field":
        return f"--metadata rest keeps such fields as metadata; --text {name} reads it as the text"
    if error.code == "missing_id":
        return "--id FIELD names the field with the ids; --id @row numbers the lines"
    if error.code == "invalid_id" and name in ("id", "_id"):
        return f"--id {name} also accepts integers"
    if error.code == "missing_field":
        return "--title FIELD and --text FIELD name the fields"
    if error.code in ("wrong_columns", "malformed_json"):
        return "--format names the format, if it is another one"
    if error.code == "invalid_metadata" and name.startswith("metadata."):
        return "--schema declares the types of the metadata; --metadata FIELD,… leaves a field out"
    if error.code in ("invalid_field", "invalid_utf8") and name:
        return "--metadata FIELD,… leaves a field out"
    return ""


def _names(text: str, option: str, *, one: bool = False) -> tuple[str, ...]:
    names = (text,) if one else tuple(name.strip() for name in text.split(","))
    if not all(names) and text:
        raise typer.BadParameter("a field name is empty", param_hint=option)
    if one and not text:
        raise typer.BadParameter("a field name is needed", param_hint=option)
    return names if text else ()


def textual(schema: Mapping[str, Any] | None, corpus: Corpus, fields: Fields) -> Fields | None:
    """Return the fields with the schema's types, where the corpus has text cells to convert; None where it has not."""
    from dataclasses import replace

    from lsr.corpora import has_text_cells

    return replace(fields, types=dict(schema)) if schema and has_text_cells(corpus) else None
