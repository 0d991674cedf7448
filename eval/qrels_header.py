"""The first line of a qrels file that names its columns, and ids in quotes.

BEIR's header is `query-id corpus-id score`, separated by tabs; other tools write `qid docid relevance`, or TREC's four
columns with names. BEIR's own reader takes quotes as CSV does, so `"12"` is the id 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_QUERY = ("query-id", "query", "qid", "q-id", "queryid", "topic", "topic-id", "query-no")
_DOCUMENT = (
    "corpus-id",
    "document",
    "document-id",
    "doc-id",
    "docid",
    "doc",
    "docno",
    "did",
    "pid",
    "passage-id",
    "pmid",
)
_GRADE = ("score", "grade", "relevance", "rel", "label", "judgement", "judgment")
_IGNORED = ("iteration", "iter", "q0", "0")
_ROLES = {
    **dict.fromkeys(_QUERY, "query"),
    **dict.fromkeys(_DOCUMENT, "document"),
    **dict.fromkeys(_GRADE, "grade"),
    **dict.fromkeys(_IGNORED, "ignored"),
}


@dataclass(frozen=True, slots=True)
class Header:
    """The places of query, document and grade in a line."""

    query: int
    document: int
    grade: int
    count: int
    tabs: bool  # whether tabs separate the columns, and not any white space

    def columns(self, line: str) -> list[str] | None:
        """Return [query, document, grade] of a line; None if it has another number of columns."""
        found = _split(line, tabs=self.tabs)
        return [found[self.query], found[self.document], found[self.grade]] if len(found) == self.count else None


def header_of(line: str) -> Header | None:
    """Return the columns that a line names; None if it is not a header."""
    tabs = "\t" in line
    roles = [_ROLES.get(column.strip().lower().replace("_", "-")) for column in _split(line, tabs=tabs)]
    if None in roles or sorted(role for role in roles if role and role != "ignored") != ["document", "grade", "query"]:
        return None
    query, document, grade = (roles.index(role) for role in ("query", "document", "grade"))
    return Header(query, document, grade, len(roles), tabs)


def unquoted(columns: Sequence[str]) -> list[str]:
    """Return the columns without the quotes that CSV puts around a value."""
    return [
        column[1:-1].replace('""', '"') if len(column) > 1 and column[0] == column[-1] == '"' else column
        for column in columns
    ]


def _split(line: str, *, tabs: bool) -> list[str]:
    return unquoted(line.split("\t")) if tabs else line.split()
