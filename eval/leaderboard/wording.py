"""The notation of figures and names in all formats: .679, * significant, † not zero-shot, – missing."""

from __future__ import annotations

from eval.catalogue import known_datasets
from eval.leaderboard.table import Figure, Row, Table

MISSING = "–"
LEGEND = (
    "* differs from the baseline (randomisation test, Holm-corrected, p < .05).  "
    "† trained on this data set: not zero-shot.  – no result.  Published figures are in italics or marked “published”; "
    "their sources are below."
)


def number(value: float, digits: int = 3) -> str:
    """Return a share without the leading zero, as is usual."""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def figure_text(figure: Figure | None) -> str:
    """Return a table's figure with its marks."""
    if figure is None:
        return MISSING
    return number(figure.value) + ("*" if figure.significant else "") + ("" if figure.zero_shot else "†")


def dataset_title(name: str) -> str:
    """Return the data set's usual name."""
    known = known_datasets().get(name)
    return known.title if known is not None else name


def headings(table: Table) -> list[str]:
    """Return the column headings: system, data sets (with their measures if these differ), the mean."""
    measures = {table.measures[name] for name in table.datasets}
    several = len(measures) > 1
    titles = [dataset_title(name) + (f" {table.measures[name]}" if several else "") for name in table.datasets]
    return ["system", *titles, *(["BEIR-13 mean"] if table.has_mean else [])]


def caption(table: Table) -> str:
    """Return one line that describes the figures."""
    measures = sorted({table.measures[name] for name in table.datasets})
    return f"{', '.join(measures)}; exact search unless a system's name says otherwise; baseline: {table.baseline}."


def row_texts(table: Table, row: Row) -> list[str]:
    """Return a row's texts, in the order of `headings`."""
    texts = [row.system, *(figure_text(row.figures.get(name)) for name in table.datasets)]
    if table.has_mean:
        texts.append(number(row.mean_of_13) if row.mean_of_13 is not None else MISSING)
    return texts


def sources(table: Table) -> list[str]:
    """Return a line for each published system in the table."""
    return [f"{row.system}: {row.source}" for row in table.rows if row.source is not None]
