"""A BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`, each also as `.gz` or `.zst`.

Lines of queries.jsonl are `{"_id": …, "text": …}`, with an optional `sparse` vector in addition to or instead of text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errors import InputFileError
from eval.sources.queries import Query
from eval.sources.text_lines import COMPRESSIONS, find_file, numbered_lines
from lsr.documents import parse_sparse
from lsr.errors import InvalidDocument, InvalidJson
from lsr.strict_json import loads


@dataclass(frozen=True, slots=True)
class BeirFiles:
    """The three files of a folder and a split."""

    corpus: Path
    queries: Path
    qrels: Path


def find_files(folder: Path, split: str) -> BeirFiles:
    """Find the three files. Raises InputFileError, which names the missing file and the available splits."""
    return BeirFiles(
        corpus=_required(folder, "corpus.jsonl"),
        queries=_required(folder, "queries.jsonl"),
        qrels=_qrels_file(folder, split),
    )


def is_beir_folder(folder: Path) -> bool:
    """Return whether a folder has queries and judgements in BEIR's layout."""
    return find_file(folder, "queries.jsonl") is not None and (folder / "qrels").is_dir()


def read_queries(path: Path) -> dict[str, Query]:
    """Read queries.jsonl.

    Raises InputFileError, with the line, for an invalid query and for an id that occurs twice.
    """
    return parse_queries(path, numbered_lines(path, objects=True))


def parse_queries(path: Path, lines: Iterable[tuple[int, str]]) -> dict[str, Query]:
    """Return the queries of numbered lines, as `read_queries` does."""
    queries: dict[str, Query] = {}
    for number, line in lines:
        try:
            value = loads(line)
        except InvalidJson as error:
            raise InputFileError(path, str(error), line=number) from None
        query = _parse_query(path, number, value)
        if query.id in queries:
            raise InputFileError(path, f"the query {query.id!r} occurs twice", line=number)
        queries[query.id] = query
    if not queries:
        raise InputFileError(path, "contains no queries")
    return queries


def _parse_query(path: Path, number: int, value: Any) -> Query:
    if not isinstance(value, dict):
        raise InputFileError(path, "a query must be a JSON object", line=number)
    identifier = value.get("_id", value.get("id"))
    if not isinstance(identifier, str) or not identifier:
        raise InputFileError(path, f"_id must be a non-empty string, not {identifier!r:.80}", line=number)
    text = value.get("text", "")
    if not isinstance(text, str):
        raise InputFileError(path, f"query {identifier!r}: text must be a string, not {text!r:.80}", line=number)
    if "sparse" not in value:
        if "text" not in value:
            raise InputFileError(path, f"query {identifier!r} has neither text nor sparse", line=number)
        return Query(identifier, text)
    try:
        return Query(identifier, text, parse_sparse(value["sparse"], "sparse"))
    except InvalidDocument as error:
        raise InputFileError(path, f"query {identifier!r}: {error}", line=number) from None


def _required(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise InputFileError(folder / name, "is missing; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/")
    return path


def _qrels_file(folder: Path, split: str) -> Path:
    path = find_file(folder / "qrels", f"{split}.tsv")
    if path is not None:
        return path
    names = (entry.name for suffix in COMPRESSIONS for entry in (folder / "qrels").glob(f"*.tsv{suffix}"))
    splits = sorted(name.split(".tsv", maxsplit=1)[0] for name in names)
    available = f"the splits are {', '.join(splits)}" if splits else "the folder has no judgements"
    raise InputFileError(folder / "qrels" / f"{split}.tsv", f"no split {split!r}; {available}")
