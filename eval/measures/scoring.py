"""Values of measures, one per query, computed by ranx's kernels.

ranx's own `Qrels` and `Run` are not used: they hash document ids into float64 and sort by score, which makes the order
of ties arbitrary. Its kernels accept plain arrays, so they get ours: documents numbered within their query (a judged
document by its position in the judgements, every other one -1), in the order of eval.ranking. Batches are padded to a
rectangle; the padding is a document that matches nothing.

A query without results, or without relevant documents, scores 0, as with trec_eval -c. Judged@k is the judged share of
the documents shown (k or fewer), as in ir_measures. Negative grades count as not relevant; the gain is the grade itself
(Järvelin and Kekäläinen 2002).

ranx is imported at the first use: it takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from eval.measures.names import Kind, Measure
from eval.qrels import Judgements
from eval.ranking import Ranking

_UNJUDGED = -1.0
_PADDING = -2.0
_RANX_NAMES: dict[Kind, str] = {
    "nDCG": "ndcg",
    "Recall": "recall",
    "MRR": "mrr",
    "MAP": "map",
    "P": "precision",
    "Judged": "precision",  # of which every judged document is relevant
}

_Kernel = Callable[[NDArray[np.float64], NDArray[np.float64], int, int], NDArray[np.float64]]


def score(
    rankings: Sequence[Ranking], judgements: Sequence[Judgements], measures: Sequence[Measure]
) -> dict[Measure, NDArray[np.float64]]:
    """Return float64[len(rankings)] for each measure; `judgements[i]` belongs to ranking i."""
    if not rankings:
        return {measure: np.empty(0) for measure in measures}
    runs = _run_array(rankings, judgements)
    graded = _qrels_array(judgements, judged_only=False)
    judged = _qrels_array(judgements, judged_only=True) if any(m.kind == "Judged" for m in measures) else graded
    values: dict[Measure, NDArray[np.float64]] = {}
    for measure in measures:
        if measure.kind == "Judged":
            share = _kernel(measure.kind)(judged, runs, measure.cutoff or 0, 1)
            values[measure] = share * _lengthening(rankings, measure.cutoff)
        else:
            values[measure] = _kernel(measure.kind)(graded, runs, measure.cutoff or 0, measure.rel or 1)
    return values


def _lengthening(rankings: Sequence[Ranking], cutoff: int | None) -> NDArray[np.float64]:
    """Return cutoff / documents shown, float64[queries]: precision divides by the cutoff, Judged by the latter."""
    lengths = np.array([max(1, len(ranking.doc_ids)) for ranking in rankings])
    return np.ones(len(rankings)) if cutoff is None else cutoff / np.minimum(cutoff, lengths)


@cache
def _kernel(kind: Kind) -> _Kernel:
    from ranx.metrics import metric_switch  # takes seconds to import; the service never needs it

    kernel: _Kernel = metric_switch(_RANX_NAMES[kind])
    return kernel


def _run_array(rankings: Sequence[Ranking], judgements: Sequence[Judgements]) -> NDArray[np.float64]:
    """Return float64[queries, longest ranking, 2]: the document's number in its query, and a descending surrogate."""
    width = max(1, *(len(ranking.doc_ids) for ranking in rankings))
    runs = np.full((len(rankings), width, 2), _PADDING)
    runs[:, :, 1] = np.arange(width, 0, -1)
    for row, (ranking, grades) in enumerate(zip(rankings, judgements, strict=True)):
        numbers = {doc_id: float(number) for number, doc_id in enumerate(_by_grade(grades))}
        runs[row, : len(ranking.doc_ids), 0] = [numbers.get(doc_id, _UNJUDGED) for doc_id in ranking.doc_ids]
    return runs


def _qrels_array(judgements: Sequence[Judgements], *, judged_only: bool) -> NDArray[np.float64]:
    """Return float64[queries, most judgements, 2]: numbers and descending grades (all 1 if `judged_only`)."""
    width = max(1, *(len(grades) for grades in judgements))
    qrels = np.zeros((len(judgements), width, 2))
    qrels[:, :, 0] = _PADDING
    for row, grades in enumerate(judgements):
        qrels[row, : len(grades), 0] = np.arange(len(grades))
        qrels[row, : len(grades), 1] = 1 if judged_only else [grades[doc_id] for doc_id in _by_grade(grades)]
    return qrels


def _by_grade(grades: Judgements) -> list[str]:
    """Return the judged documents by descending grade: the ideal ranking, by whose gain nDCG divides."""
    return sorted(grades, key=lambda doc_id: (-grades[doc_id], doc_id))
