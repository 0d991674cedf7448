"""Topics files: lines with `id<TAB>text`, TREC's `<top> <num> Number: 301 <title> …` blocks, or JSON lines of a BEIR
folder.

A line's text may also be an encoded query of Pyserini and Anserini: word pieces separated by spaces, each repeated as
often as its integer weight. `read_encoded_topics` reads those as sparse vectors.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from eval.errors import InputFileError
from eval.sources.beir_folder import parse_queries
from eval.sources.queries import Query
from eval.sources.text_lines import numbered_lines
from lsr.documents import SparseByToken

_NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+)", re.IGNORECASE)
_TITLE = re.compile(r"<title>\s*(?:Topic:)?\s*(.*?)\s*(?=<|\Z)", re.IGNORECASE | re.DOTALL)


def read_topics(path: Path) -> dict[str, Query]:
    """Read a topics file.

    Raises InputFileError, with the line, for an invalid topic and for an id that occurs twice.
    """
    lines = list(numbered_lines(path))
    if lines and lines[0][1].lstrip().lower().startswith("<top>"):
        return _read_blocks(path, lines)
    if lines and lines[0][1].lstrip().startswith("[") and "\t" not in lines[0][1]:
        raise InputFileError(path, "is a JSON array; topics in JSON have one object on each line: jq -c '.[]'")
    if lines and lines[0][1].startswith("{") and "\t" not in lines[0][1]:
        return parse_queries(path, lines)
    queries: dict[str, Query] = {}
    for number, line in lines:
        query_id, text = _split(path, number, line)
        _add(path, number, queries, Query(query_id, text))
    return _not_empty(path, queries)


def read_encoded_topics(path: Path) -> dict[str, Query]:
    """Read topics of word pieces, each repeated as often as its weight, as sparse vectors by token."""
    queries: dict[str, Query] = {}
    for number, line in numbered_lines(path):
        query_id, text = _split(path, number, line)
        weights = {token: float(count) for token, count in Counter(text.split()).items()}
        _add(path, number, queries, Query(query_id, "", SparseByToken(weights)))
    return _not_empty(path, queries)


def _read_blocks(path: Path, lines: list[tuple[int, str]]) -> dict[str, Query]:
    queries: dict[str, Query] = {}
    start = 0
    block: list[str] = []
    for number, line in lines:
        if line.strip().lower().startswith("<top>"):
            start, block = number, []
        block.append(line)
        if "</top>" in line.lower():
            text = "\n".join(block)
            query_id, title = _NUMBER.search(text), _TITLE.search(text)
            if query_id is None or title is None:
                raise InputFileError(path, "a <top> without <num> or <title>", line=start)
            _add(path, start, queries, Query(query_id[1], " ".join(title[1].split())))
            block = []
    if block:
        raise InputFileError(path, "a <top> without </top>", line=start)
    return _not_empty(path, queries)


def _split(path: Path, number: int, line: str) -> tuple[str, str]:
    query_id, tab, text = line.partition("\t")
    if not tab or not query_id.strip():
        raise InputFileError(path, "a topic must have an id, a tab and a text", line=number)
    return query_id.strip(), text.strip()


def _add(path: Path, number: int, queries: dict[str, Query], query: Query) -> None:
    if query.id in queries:
        raise InputFileError(path, f"the query {query.id!r} occurs twice", line=number)
    queries[query.id] = query


def _not_empty(path: Path, queries: dict[str, Query]) -> dict[str, Query]:
    if not queries:
        raise InputFileError(path, "contains no topics")
    return queries
