"""One query's ranked list, and the order that decides a measure's last digits.

We rank ourselves: by falling score, and where scores are equal by rising document id. trec_eval breaks ties the other
way (falling id) and compares scores as float32; its order is a mode, for comparing digit by digit with its output.
Ids compare as UTF-8 bytes do, which for Python strings is the order of code points.
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
    """The documents found for one query, best first: `doc_ids[i]` has `scores[i]`, float[n], never rising."""

    query_id: str
    doc_ids: Sequence[str]
    scores: NDArray[np.floating[Any]]


def rank(query_id: str, doc_ids: Sequence[str], scores: NDArray[np.floating[Any]], *, ties: TieOrder = "id") -> Ranking:
    """Order documents by falling score and, within equal scores, by id as `ties` says.

    scores   float[len(doc_ids)]

    Raises DatasetMismatch for a score that is not a number, and for a document that is there twice.
    """
    if np.isnan(scores).any():
        culprit = doc_ids[int(np.flatnonzero(np.isnan(scores))[0])]
        raise DatasetMismatch(f"query {query_id!r}: the score of document {culprit!r} is not a number")
    if len(set(doc_ids)) != len(doc_ids):
        seen: set[str] = set()
        twice = next(doc_id for doc_id in doc_ids if doc_id in seen or seen.add(doc_id))  # type: ignore[func-returns-value]
        raise DatasetMismatch(f"query {query_id!r}: document {twice!r} is in the ranking twice")
    compared = scores.astype(np.float32) if ties == "trec_eval" else scores
    order = np.argsort(-compared, kind="stable")
    falling = compared[order]
    ends = np.flatnonzero(np.diff(falling) != 0) + 1
    bounds = [0, *ends.tolist(), len(order)]
    if len(bounds) - 1 < len(order):
        for start, stop in pairwise(bounds):
            if stop - start > 1:
                tied = sorted(order[start:stop].tolist(), key=doc_ids.__getitem__, reverse=ties == "trec_eval")
                order[start:stop] = tied
    return Ranking(query_id, [doc_ids[i] for i in order.tolist()], scores[order])


def without(ranking: Ranking, doc_id: str) -> Ranking:
    """Return the ranking without one document: the query's own, where a benchmark's queries are documents."""
    if doc_id not in ranking.doc_ids:
        return ranking
    keep = [i for i, found in enumerate(ranking.doc_ids) if found != doc_id]
    return Ranking(ranking.query_id, [ranking.doc_ids[i] for i in keep], ranking.scores[keep])


def top(ranking: Ranking, k: int) -> Ranking:
    """Return the first `k` documents of the ranking."""
    return ranking if len(ranking.doc_ids) <= k else Ranking(ranking.query_id, ranking.doc_ids[:k], ranking.scores[:k])
