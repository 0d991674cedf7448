"""Run files in TREC's format: `query Q0 document rank score tag`, one line per document found.

The scores decide the order of a run (eval.ranking), not its lines or its rank column, and further columns are ignored,
as in trec_eval. Scores are written as the shortest decimal that reads back as the same number, so a run that is read
has the same order.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from eval.errors import InputFileError
from eval.ranking import Ranking, TieOrder, rank
from eval.sources.text_lines import numbered_lines
from lsr.input_file import InputFile
from lsr.output_file import output_file


@dataclass(frozen=True)
class Run:
    """A run in memory: its tag (the last column of its first line) and a ranking for each query with results."""

    tag: str
    rankings: dict[str, Ranking]


def read_run(
    path: Path,
    *,
    source: InputFile | None = None,
    ties: TieOrder = "id",
    query_ids: Collection[str] | None = None,
    unknown_ids: Collection[str] = (),
) -> Run:
    """Read a run; a query that is not in `query_ids`, or a document that is in `unknown_ids`, is an error.

    source  the run's input, if it is open already

    Raises InputFileError, with the line, for a wrong number of columns, a score that is not a number, an unknown id, a
    document that a query has twice, and a file without lines.
    """
    found: dict[str, tuple[list[str], list[float]]] = {}
    pairs: dict[str, set[str]] = {}
    tag = ""
    for number, line in numbered_lines(path, source=source):
        columns = line.split()
        if len(columns) < 6:
            raise InputFileError(
                path, f"{len(columns)} columns, but a run has six (query Q0 document rank score tag)", line=number
            )
        query_id, _, document_id, _, score_text, line_tag = columns[:6]
        tag = tag or line_tag
        document_id = sys.intern(document_id)
        score = _parse_score(path, number, score_text)
        if query_ids is not None and query_id not in query_ids:
            raise InputFileError(path, f"the data set has no query {query_id!r}", line=number)
        if document_id in unknown_ids:
            raise InputFileError(path, f"the data set has no document {document_id!r}", line=number)
        documents, scores = found.setdefault(query_id, ([], []))
        seen = pairs.setdefault(query_id, set())
        if document_id in seen:
            raise InputFileError(path, f"query {query_id!r}: the document {document_id!r} occurs twice", line=number)
        seen.add(document_id)
        documents.append(document_id)
        scores.append(score)
    if not found:
        raise InputFileError(path, "contains no results")
    return Run(
        tag, {query_id: rank(query_id, ids, np.asarray(scores), ties=ties) for query_id, (ids, scores) in found.items()}
    )


@contextmanager
def run_writer(path: Path, tag: str) -> Iterator[RunWriter]:
    """Write a run while it is computed; an existing file is replaced when it is complete (lsr/output_file.py)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with output_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        try:
            yield RunWriter(text, tag, path)
        finally:
            text.detach()  # flushes; the file itself is closed by output_file


class RunWriter:
    """Writes rankings as lines of a run. Ids with white space are refused: the format has no quotes."""

    def __init__(self, file: IO[str], tag: str, path: Path) -> None:
        self._file = file
        self._path = path
        self._tag = "-".join(tag.split()) or "lsr"

    def write(self, ranking: Ranking) -> None:
        """Append one query's results; ranks count from 1."""
        for position, (doc_id, score) in enumerate(zip(ranking.doc_ids, ranking.scores, strict=True), start=1):
            for identifier in (ranking.query_id, doc_id):
                if len(identifier.split()) != 1:
                    raise InputFileError(
                        self._path,
                        f"the id {identifier!r} contains white space, which a TREC run does not allow: evaluate "
                        "without a run file, or change the id",
                    )
            self._file.write(f"{ranking.query_id} Q0 {doc_id} {position} {score!s} {self._tag}\n")


def _parse_score(path: Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise InputFileError(path, f"the score {text!r} is not a number", line=number)
    return score
