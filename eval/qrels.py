"""Qrels: the judged documents of each query, and their relevance grades.

Two file formats are read. TREC's has four columns separated by white space (`query 0 document grade`); BEIR's has a
header and three columns separated by tabs (`query-id corpus-id score`). Other names in a header are read, too
(eval.qrels_header). A grade is an integer; 0 and below mean not relevant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from eval.errors import InputFileError
from eval.qrels_header import Header, header_of, unquoted
from eval.sources.text_lines import numbered_lines

Judgements = Mapping[str, int]  # document id -> grade
Qrels = Mapping[str, Judgements]  # query id -> its judgements

_GRADE = re.compile(r"[+-]?[0-9]{1,9}")  # int() would also read 1_0 as 10


def read_qrels(path: Path, *, header_optional: bool = False) -> dict[str, dict[str, int]]:
    """Read a qrels file in TREC's or BEIR's format (recognised by a header).

    With `header_optional`, as inside a BEIR folder, three columns without a header are accepted too. Raises
    InputFileError, with the line, for a wrong number of columns, a grade that is not an integer, two grades for one
    document, no lines.
    """
    qrels: dict[str, dict[str, int]] = {}
    header: Header | None = None
    for position, (number, line) in enumerate(numbered_lines(path)):
        if position == 0 and (header := header_of(line)) is not None:
            continue
        query_id, document_id, grade = _parse_line(path, number, line, header, beir=header_optional)
        judgements = qrels.setdefault(query_id, {})
        if judgements.setdefault(document_id, grade) != grade:
            raise InputFileError(
                path,
                f"query {query_id!r}: the document {document_id!r} has the grade {grade} here, but "
                f"{judgements[document_id]} above",
                line=number,
            )
    if not qrels:
        raise InputFileError(path, "contains no judgements")
    return qrels


def count_judgements(qrels: Qrels) -> int:
    """Return the number of judged (query, document) pairs."""
    return sum(len(judgements) for judgements in qrels.values())


def _parse_line(path: Path, number: int, line: str, header: Header | None, *, beir: bool) -> tuple[str, str, int]:
    if line.startswith("#"):
        raise InputFileError(path, "qrels have no comments; remove the line that starts with #", line=number)
    beir = beir or (header is not None and header.tabs)
    columns = unquoted(line.split("\t")) if beir else line.split()
    named = None if header is None else header.columns(line)
    if named is not None:
        query_id, document_id, grade = named
    elif beir and header is None and len(columns) == 3:
        query_id, document_id, grade = columns
    elif not beir and header is None and len(columns) == 4:
        query_id, _, document_id, grade = columns
    else:
        expected = (
            "three columns separated by tabs (query-id, corpus-id, score)"
            if beir
            else (
                "four columns (query, 0, document, grade); three are BEIR's format, whose first line is "
                "query-id<TAB>corpus-id<TAB>score"
            )
        )
        raise InputFileError(path, f"{len(columns)} columns, but qrels have {expected}", line=number)
    if not _GRADE.fullmatch(grade):
        raise InputFileError(
            path, f"the grade {grade!r} is not an integer, such as 0, 1 or 2; correct or remove the line", line=number
        )
    return query_id, document_id, int(grade)
