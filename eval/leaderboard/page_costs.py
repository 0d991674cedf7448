"""The page's section on cost: effectiveness against latency, recall against latency, and a table."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from eval.leaderboard.cells import Cell
from eval.leaderboard.plots import Point, Series, scatter
from eval.leaderboard.table import Table
from eval.leaderboard.wording import MISSING, dataset_title, number

_EXPLANATION = (
    "<p>Left: effectiveness against the median time of a search on one thread, with the system's own search settings; "
    "bars are 95 % bootstrap intervals. Right: recall@10 relative to exact search against the same time, from fast to "
    "thorough settings; the separate point at 1 is exact search. FLOPS are the mean number of multiplications for one "
    "query and one document.</p>"
)

# Name in eval.efficiency.flat, heading, format.
_COSTS = (
    ("query_terms", "terms, query", "{:.1f}"),
    ("document_terms", "terms, document", "{:.1f}"),
    ("flops", "FLOPS", "{:.2f}"),
    ("bytes_per_document", "bytes per document", "{:,.0f}"),
    ("encoded_documents_per_second", "documents/s encoded", "{:,.0f}"),
    ("indexed_documents_per_second", "documents/s indexed", "{:,.0f}"),
    ("exact_p50_ms", "exact p50, ms", "{:.2f}"),
    ("exact_p99_ms", "exact p99, ms", "{:.2f}"),
    ("approximate_p50_ms", "approx. p50, ms", "{:.2f}"),
    ("approximate_p99_ms", "approx. p99, ms", "{:.2f}"),
    ("approximate_recall", "approx. recall@10", "{:.3f}"),
)


def cost_sections(table: Table) -> str:
    """Return plots and table; empty if no cost was measured."""
    colours = {row.system: number for number, row in enumerate(row for row in table.rows if row.source is None)}
    plots = []
    for dataset in table.datasets:
        for plot in (_effectiveness_cost(table, dataset, colours), _recall_latency(table, dataset, colours)):
            if plot:
                plots.append(f"<figure>{plot}</figure>")
    rows = _cost_table(table)
    if not plots and not rows:
        return ""
    legend = "".join(f'<span><i class="swatch c{c % 8}"></i>{escape(name)}</span>' for name, c in colours.items())
    shown = f'{_EXPLANATION}<p class="legend">{legend}</p><div class="plots">{"".join(plots)}</div>' if plots else ""
    return f"<h2>Cost</h2>\n{shown}\n{rows}"


def _effectiveness_cost(table: Table, dataset: str, colours: Mapping[str, int]) -> str:
    exact = {cell.system: _is_exact(cell) for cell in table.cells if cell.dataset == dataset}
    series = []
    for row in table.rows:
        figure, costs = row.figures.get(dataset), row.efficiency.get(dataset, {})
        cost = costs.get("exact_p50_ms" if exact.get(row.system, True) else "approximate_p50_ms")
        if figure is not None and cost is not None:
            flops = f", {costs['flops']:.2f} FLOPS" if "flops" in costs else ""
            hint = f"{row.system}: {number(figure.value)} in {cost} ms{flops}"
            series.append(Series((Point(cost, figure.value, hint, figure.low, figure.high),), colours[row.system]))
    if not series:
        return ""
    title = f"{dataset_title(dataset)}: effectiveness and cost"
    return scatter(title, "search p50, ms (logarithmic)", table.measures[dataset], series, log_x=True)


def _recall_latency(table: Table, dataset: str, colours: Mapping[str, int]) -> str:
    series = []
    for cell in table.cells:
        curve = cell.efficiency.get("curve")
        if cell.dataset == dataset and curve and _is_exact(cell):  # the approximate cell is a point of the same line
            for exact in (False, True):  # exact search is a separate point: on a small collection it may be faster
                points = tuple(
                    Point(point["search_p50_ms"], point["recall"], _curve_hint(cell.system, point))
                    for point in curve
                    if bool(point.get("exact")) == exact
                )
                series.append(Series(points, colours[cell.system], line=not exact))
    if not series:
        return ""
    title = f"{dataset_title(dataset)}: recall and latency"
    return scatter(title, "search p50, ms (logarithmic)", "recall@10 of exact", series, log_x=True, y_most=1.0)


def _is_exact(cell: Cell) -> bool:
    return bool(cell.content["system"].get("settings", {}).get("exact", True))


def _curve_hint(system: str, point: Mapping[str, Any]) -> str:
    how = "exact" if point.get("exact") else f"query_cut {point['query_cut']}, heap_factor {point['heap_factor']}"
    times = f"p50 {point['search_p50_ms']} ms, p99 {point['search_p99_ms']} ms"
    return f"{system}, {how}: recall {number(point['recall'])}, {times}"


def _cost_table(table: Table) -> str:
    lines = ""
    for row in table.rows:
        for dataset in table.datasets:
            costs = row.efficiency.get(dataset)
            if costs is None:
                continue
            texts = (form.format(costs[key]) if key in costs else MISSING for key, _, form in _COSTS)
            values = "".join(f"<td>{text}</td>" for text in texts)
            names = f'<th>{escape(row.system)}</th><td class="name">{escape(dataset_title(dataset))}</td>'
            lines += f"<tr>{names}{values}</tr>\n"
    if not lines:
        return ""
    heads = '<th>system</th><th class="name">data set</th>' + "".join(f"<th>{label}</th>" for _, label, _ in _COSTS)
    return (
        f'<div class="wide"><table class="costs"><thead><tr>{heads}</tr></thead>\n<tbody>{lines}</tbody></table></div>'
    )
