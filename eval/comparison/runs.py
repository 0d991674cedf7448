"""Compares two rankings of one data set: significance, the queries that differ, and both lists side by side.

The inputs are two results (`Evaluation`) or two run files. Every measure is tested; Holm's correction covers all of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.comparison.significance import Difference, holm, paired_difference
from eval.dataset import Dataset, open_dataset
from eval.errors import DatasetMismatch, EvaluationError
from eval.evaluate_system import evaluate
from eval.evaluation import Evaluation
from eval.measures import DEFAULT_MEASURES, Measure
from eval.qrels import Judgements
from eval.ranking import Ranking
from eval.runs import read_run

_EQUAL = 1e-9  # values closer than this are a tie


@dataclass(frozen=True, slots=True)
class Moved:
    """A query and its value under the first and the second system."""

    query_id: str
    text: str
    first: float
    second: float

    @property
    def change(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class MeasureComparison:
    """The second system compared with the first in one measure; `p_holm` is the randomisation test's corrected p."""

    measure: Measure
    first: float
    second: float
    difference: Difference
    p_holm: float
    wins: int  # queries on which the second is better
    losses: int
    ties: int
    moved: tuple[Moved, ...]  # the queries with the largest changes, largest first


@dataclass(frozen=True)
class Comparison:
    """Two systems on one data set."""

    dataset: str
    first: str
    second: str
    measures: tuple[MeasureComparison, ...]
    warnings: tuple[str, ...] = ()  # those of the two results

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object."""
        return {
            "dataset": self.dataset,
            "first": self.first,
            "second": self.second,
            "warnings": list(self.warnings),
            "measures": {str(one.measure): _measure_json(one) for one in self.measures},
        }

    def table(self) -> str:
        """Return a text."""
        lines = [f"{self.dataset}: {self.second} against {self.first}", ""]
        width = max(len(str(one.measure)) for one in self.measures)
        lines.append(f"{'':{width}}   first  second   delta   95 % interval      p(t)   p(rand)  p(Holm)  win/loss/tie")
        for one in self.measures:
            d = one.difference
            means = f"{one.measure!s:{width}}  {one.first:6.4f}  {one.second:6.4f}  {d.mean:+.4f}"
            tests = f"{d.p_t:.4f}  {d.p_randomisation:.4f}   {one.p_holm:.4f}"
            lines.append(f"{means}  [{d.low:+.4f}, {d.high:+.4f}]  {tests}   {one.wins}/{one.losses}/{one.ties}")
        main = self.measures[0]
        lines += ["", f"Queries with the largest change in {main.measure}:"]
        lines += [f"  {m.change:+.4f}  {m.first:.4f} -> {m.second:.4f}  {m.query_id}  {m.text}" for m in main.moved]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class PairedRank:
    """A document in two rankings: its rank in each (from 1; None: not ranked) and its grade (None: unjudged)."""

    doc_id: str
    first: int | None
    second: int | None
    grade: int | None


def compare_runs(
    dataset: str | Path | Dataset,
    first: Path,
    second: Path,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    k: int | None = None,
    drop_own_document: bool | None = None,
    most: int = 10,
) -> Comparison:
    """Evaluate two run files on a data set and compare them. Raises what `evaluate` raises."""
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    results = [
        evaluate(opened, run=path, measures=measures, k=k, drop_own_document=drop_own_document)
        for path in (first, second)
    ]
    return compare(results[0], results[1], opened, most=most)


def side_by_side_table(dataset: Dataset, first: Path, second: Path, query_id: str, *, k: int = 10) -> str:
    """Return a text with one query's best documents in two run files, and their grades.

    Raises EvaluationError for a query that the data set does not have, InputFileError for a file that is not a run.
    """
    if query_id not in dataset.queries:
        raise EvaluationError(f"{dataset.name} has no query {query_id!r}", field="query")
    runs = [read_run(path, query_ids=dataset.queries.keys()) for path in (first, second)]
    rankings = [run.rankings.get(query_id, Ranking(query_id, [], np.empty(0))) for run in runs]
    pairs = side_by_side(rankings[0], rankings[1], dataset.qrels.get(query_id, {}), k=k)
    lines = [
        f"query {query_id}: {dataset.queries[query_id].text}",
        f"{runs[0].tag:>10}  {runs[1].tag:>10}  grade  document",
    ]
    for pair in pairs:
        ranks = "  ".join(f"{'–' if rank is None else rank:>10}" for rank in (pair.first, pair.second))
        lines.append(f"{ranks}  {'–' if pair.grade is None else pair.grade:>5}  {pair.doc_id}")
    return "\n".join(lines) + "\n"


def compare(first: Evaluation, second: Evaluation, dataset: Dataset, *, most: int = 10) -> Comparison:
    """Compare two results over the same queries; `most` queries are listed for each measure.

    Raises DatasetMismatch for results over different queries or without a common measure.
    """
    if first.query_ids != second.query_ids:
        raise DatasetMismatch(f"{first.system} and {second.system} were evaluated on different queries")
    common = [measure for measure in first.values if measure in second.values]
    if not common:
        raise DatasetMismatch(f"{first.system} and {second.system} have no measure in common")
    differences = [paired_difference(second.values[measure], first.values[measure]) for measure in common]
    corrected = holm([difference.p_randomisation for difference in differences])
    compared = tuple(
        _compare_measure(first, second, dataset, measure, difference, p, most)
        for measure, difference, p in zip(common, differences, corrected, strict=True)
    )
    return Comparison(first.dataset, first.system, second.system, compared, _warnings(first, second))


def _warnings(first: Evaluation, second: Evaluation) -> tuple[str, ...]:
    """Return the warnings of both results, each once; one that only one of them has names it."""
    found = [warning for warning in first.warnings if warning in second.warnings]
    for result, other in ((first, second), (second, first)):
        found += [f"{result.system}: {warning}" for warning in result.warnings if warning not in other.warnings]
    if first.own_document_dropped != second.own_document_dropped:
        dropped, kept = (first, second) if first.own_document_dropped else (second, first)
        found.append(
            f"the document with the query's own id is left out of the rankings of {dropped.system}, and ranked in "
            f"those of {kept.system}: the difference is also one of that rule"
        )
    return tuple(found)


def side_by_side(first: Ranking, second: Ranking, judgements: Judgements, *, k: int = 10) -> list[PairedRank]:
    """Return the documents in either one's top `k`, by their best rank, with both ranks and the grade."""
    ranks = [{doc_id: rank for rank, doc_id in enumerate(r.doc_ids, start=1)} for r in (first, second)]
    shown = dict.fromkeys([*first.doc_ids[:k], *second.doc_ids[:k]])
    pairs = [PairedRank(doc_id, ranks[0].get(doc_id), ranks[1].get(doc_id), judgements.get(doc_id)) for doc_id in shown]
    return sorted(pairs, key=lambda pair: min(rank for rank in (pair.first, pair.second) if rank is not None))


def _compare_measure(
    first: Evaluation,
    second: Evaluation,
    dataset: Dataset,
    measure: Measure,
    difference: Difference,
    p_holm: float,
    most: int,
) -> MeasureComparison:
    before, after = first.values[measure], second.values[measure]
    change = after - before
    moved = [
        Moved(query_id, dataset.queries[query_id].text, float(old), float(new))
        for query_id, old, new in zip(first.query_ids, before, after, strict=True)
        if abs(new - old) > _EQUAL
    ]
    moved.sort(key=lambda one: (-abs(one.change), one.query_id))
    wins, losses = int((change > _EQUAL).sum()), int((change < -_EQUAL).sum())
    return MeasureComparison(
        measure=measure,
        first=float(before.mean()),
        second=float(after.mean()),
        difference=difference,
        p_holm=p_holm,
        wins=wins,
        losses=losses,
        ties=len(change) - wins - losses,
        moved=tuple(moved[:most]),
    )


def _measure_json(one: MeasureComparison) -> dict[str, Any]:
    d = one.difference
    return {
        "first": one.first,
        "second": one.second,
        "delta": d.mean,
        "interval": [d.low, d.high],
        "p_t": d.p_t,
        "p_randomisation": d.p_randomisation,
        "p_holm": one.p_holm,
        "wins": one.wins,
        "losses": one.losses,
        "ties": one.ties,
        "moved": [{"query": m.query_id, "text": m.text, "first": m.first, "second": m.second} for m in one.moved],
    }
