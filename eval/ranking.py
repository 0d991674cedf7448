"""One query's ranked list, and its order, which decides a measure's last digits.

Our order: descending score, and for equal scores ascending document id. trec_eval breaks ties the other way (descending
id) and compares scores as float32; its order is available as a mode, for exact comparisons with its output. Ids are
compared as UTF-8 bytes, which for Python strings is the order of code points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.errors import DatasetMismatch

TieOrder = Literal["id", "trec_eval"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The documents found for one query, best first: `doc_ids[i]` has `scores[i]`, float[n], descending or equal."""

    query_id: str
    doc_ids: Sequence[str]
    scores: NDArray[np.floating[Any]]


def rank(query_id: str, doc_ids: Sequence[str], scores: NDArray[np.floating[Any]], *, ties: TieOrder = "id") -> Ranking:
    """Sort documents by descending score and, within equal scores, by id in the order `ties`.

    scores   float[len(doc_ids)]

    Raises DatasetMismatch for a score that is not a number, and for a document that occurs twice.
    """
    if np.isnan(scores).any():
        first = doc_ids[int(np.flatnonzero(np.isnan(scores))[0])]
        raise DatasetMismatch(f"query {query_id!r}: the score of document {first!r} is not a number")
    if len(set(doc_ids)) != len(doc_ids):
        seen: set[str] = set()
        twice = next(doc_id for doc_id in doc_ids if doc_id in seen or seen.add(doc_id))  # type: ignore[func-returns-value]
        raise DatasetMismatch(f"query {query_id!r}: the document {twice!r} occurs twice in the ranking")
    compared = scores.astype(np.float32) if ties == "trec_eval" else scores
    order = np.argsort(-compared, kind="stable")
    descending = compared[order]
    ends = np.flatnonzero(np.diff(descending) != 0) + 1
    bounds = [0, *ends.tolist(), len(order)]
    if len(bounds) - 1 < len(order):
        for start, stop in pairwise(bounds):
            if stop - start > 1:
                tied = sorted(order[start:stop].tolist(), key=doc_ids.__getitem__, reverse=ties == "trec_eval")
                order[start:stop] = tied
    return Ranking(query_id, [doc_ids[i] for i in order.tolist()], scores[order])


def without(ranking: Ranking, doc_id: str) -> Ranking:
    """Return the ranking without one document: the query itself, in benchmarks whose queries are documents."""
    if doc_id not in ranking.doc_ids:
        return ranking
    keep = [i for i, found in enumerate(ranking.doc_ids) if found != doc_id]
    return Ranking(ranking.query_id, [ranking.doc_ids[i] for i in keep], ranking.scores[keep])


def top(ranking: Ranking, k: int) -> Ranking:
    """Return the first `k` documents of the ranking."""
    return ranking if len(ranking.doc_ids) <= k else Ranking(ranking.query_id, ranking.doc_ids[:k], ranking.scores[:k])
