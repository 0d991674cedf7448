"""The leaderboard's table, independent of the format: systems by data sets, our figures and published ones.

A missing figure stays missing: it is never 0, and a mean never ignores it. The mean over BEIR's 13 is shown only if all
13 figures exist, CQADupStack's only if all its 12 forums exist.

Our systems are compared with the baseline (default: bm25, or else the first by name) on the queries of each data set by
the randomisation test; Holm's procedure corrects the p values of the whole table together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eval.catalogue import known_datasets
from eval.comparison.significance import holm, paired_difference
from eval.efficiency import flat
from eval.errors import EvaluationError
from eval.leaderboard.cells import Cell
from eval.leaderboard.published import PublishedSystem, primary_measure, published_systems
from eval.systems import BASELINE_ENCODER

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of the table. `delta` and `p` (Holm-corrected) compare it with the baseline; None if not possible."""

    value: float
    low: float | None = None
    high: float | None = None
    delta: float | None = None
    p: float | None = None
    zero_shot: bool = True

    @property
    def significant(self) -> bool:
        """Whether the difference from the baseline is significant."""
        return self.p is not None and self.p < SIGNIFICANT


@dataclass(frozen=True)
class Row:
    """A system's figures by data set; `source` is None for ours."""

    system: str
    figures: Mapping[str, Figure]
    source: str | None = None
    mean_of_13: float | None = None
    efficiency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by data set


@dataclass(frozen=True)
class Table:
    """Rows and columns; `measures[dataset]` names the column's measure."""

    datasets: tuple[str, ...]
    measures: Mapping[str, str]
    rows: tuple[Row, ...]
    baseline: str
    cells: tuple[Cell, ...]

    @property
    def has_mean(self) -> bool:
        """Whether any system has the mean over BEIR's 13."""
        return any(row.mean_of_13 is not None for row in self.rows)


def build_table(
    cells: Sequence[Cell], *, baseline: str | None = None, measure: str | None = None, published: bool = True
) -> Table:
    """Return the table of the cells; `measure` replaces the measure that the literature reports for each data set.

    Published figures appear only for the cells' data sets and in the measure in which they were published. Raises
    EvaluationError for no cells, an unknown baseline, and a measure that a cell does not have.
    """
    if not cells:
        raise EvaluationError("there are no results to show")
    by_system: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        by_system.setdefault(cell.system, {})[cell.dataset] = cell
    baseline = baseline or (BASELINE_ENCODER if BASELINE_ENCODER in by_system else min(by_system))
    if baseline not in by_system:
        raise EvaluationError(
            f"no result of {baseline!r}; there are results of {', '.join(by_system)}", field="baseline"
        )
    present = {cell.dataset for cell in cells}
    measures = {name: measure or primary_measure(name) for name in present}
    ours = [_our_row(system, found, measures) for system, found in by_system.items()]
    ours = _compared(ours, by_system, by_system[baseline], baseline, measures)
    ours.sort(key=lambda row: row.system != baseline)
    theirs = [
        _published_row(system, measures, whole=measure is None)
        for system in published_systems()
        if published and any(measures.get(name) == primary_measure(name) for name in system.figures if name in present)
    ]
    rows = [_with_means(row) for row in (*ours, *theirs)]
    return Table(_columns(rows, present), _column_measures(rows, measures), tuple(rows), baseline, tuple(cells))


def _our_row(system: str, cells: Mapping[str, Cell], measures: Mapping[str, str]) -> Row:
    figures: dict[str, Figure] = {}
    for dataset, cell in cells.items():
        name = measures[dataset]
        if name not in cell.measures:
            raise EvaluationError(
                f"{cell.path} has no {name}; its measures: {', '.join(cell.measures)}", field="measure"
            )
        low, high = cell.interval(name) or (None, None)
        figures[dataset] = Figure(cell.measures[name], low, high)
    efficiency = {dataset: flat(cell.efficiency) for dataset, cell in cells.items() if cell.efficiency}
    return Row(system, figures, efficiency=efficiency)


def _compared(
    rows: Sequence[Row],
    by_system: Mapping[str, Mapping[str, Cell]],
    baseline_cells: Mapping[str, Cell],
    baseline: str,
    measures: Mapping[str, str],
) -> list[Row]:
    """Add the difference from the baseline and its corrected p value to every figure that the baseline also has."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for row in rows:
        for dataset in row.figures:
            other = baseline_cells.get(dataset)
            if row.system == baseline or other is None:
                continue
            mine = by_system[row.system][dataset].values(measures[dataset])
            theirs = other.values(measures[dataset])
            if mine.keys() != theirs.keys():
                raise EvaluationError(
                    f"{row.system} and {baseline} were evaluated on different queries of {dataset}: "
                    f"{by_system[row.system][dataset].path}, {other.path}"
                )
            queries = list(mine)
            difference = paired_difference(np.array([mine[q] for q in queries]), np.array([theirs[q] for q in queries]))
            found[row.system, dataset] = (difference.mean, difference.p_randomisation)
    corrected = dict(zip(found, holm([p for _, p in found.values()]), strict=True))
    return [
        replace(
            row,
            figures={
                dataset: replace(figure, delta=found[row.system, dataset][0], p=corrected[row.system, dataset])
                if (row.system, dataset) in found
                else figure
                for dataset, figure in row.figures.items()
            },
        )
        for row in rows
    ]


def _published_row(system: PublishedSystem, measures: Mapping[str, str], *, whole: bool) -> Row:
    figures = {
        name: Figure(value, zero_shot=name not in system.not_zero_shot)
        for name, value in system.figures.items()
        if measures.get(name) == primary_measure(name)
    }
    return Row(system.name, figures, source=system.source, mean_of_13=system.mean_of_13 if whole else None)


def _with_means(row: Row) -> Row:
    """Add CQADupStack's macro average and the mean over BEIR's 13, each only if all its parts exist."""
    known = known_datasets()
    figures = dict(row.figures)
    for name, dataset in known.items():
        if dataset.parts and all(part in figures for part in dataset.parts):
            parts = [figures[part] for part in dataset.parts]
            figures[name] = Figure(
                float(np.mean([part.value for part in parts])), zero_shot=all(part.zero_shot for part in parts)
            )
    thirteen = [name for name, dataset in known.items() if dataset.mean_of_13]
    mean = row.mean_of_13
    if row.source is None and all(name in figures for name in thirteen):
        mean = float(np.mean([figures[name].value for name in thirteen]))
    return replace(row, figures=figures, mean_of_13=mean)


def _columns(rows: Sequence[Row], present: set[str]) -> tuple[str, ...]:
    order = {name: position for position, name in enumerate(known_datasets())}
    names = present | {name for row in rows for name in row.figures if name in order and known_datasets()[name].parts}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def _column_measures(rows: Sequence[Row], measures: Mapping[str, str]) -> dict[str, str]:
    macro = {name: primary_measure(name) for row in rows for name in row.figures if name not in measures}
    return {**macro, **measures}
