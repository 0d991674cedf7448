"""The leaderboard as one HTML page that needs nothing but itself: table, plots, costs, how each figure was made."""

from __future__ import annotations

from html import escape

from eval.leaderboard.page_costs import cost_sections
from eval.leaderboard.page_details import detail_sections
from eval.leaderboard.style import STYLE
from eval.leaderboard.table import Figure, Row, Table
from eval.leaderboard.wording import MISSING, caption, figure_text, headings, number

_NOTES = (
    '<p class="notes"><b>*</b> differs from the baseline: randomisation test, Holm-corrected, p &lt; .05. '
    "<b>†</b> trained on this data set, so not zero-shot. <b>–</b> no result. Bold: the highest of a column. "
    "Small figures are 95 % bootstrap intervals over queries, and the difference to the baseline.</p>"
)


def to_html(table: Table, *, title: str = "Leaderboard") -> str:
    """Return the whole page."""
    lead = f'<p class="lead">{escape(caption(table))} {escape(_machines(table))}</p>'
    sections = [f"<h1>{escape(title)}</h1>", lead, _main_table(table), cost_sections(table), detail_sections(table)]
    body = "\n".join(section for section in sections if section)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _main_table(table: Table) -> str:
    names = headings(table)
    heads = "".join(f"<th>{escape(text)}</th>" for text in names)
    best = {name: max(row.figures[name].value for row in table.rows if name in row.figures) for name in table.datasets}
    ours = "".join(_main_row(table, row, best) for row in table.rows if row.source is None)
    theirs = "".join(_main_row(table, row, best) for row in table.rows if row.source is not None)
    split = f'<tr class="rule"><th colspan="{len(names)}">published</th></tr>' if theirs else ""
    body = f"<thead><tr>{heads}</tr></thead>\n<tbody>{ours}{split}{theirs}</tbody>"
    return f'<div class="wide"><table class="main">{body}</table></div>\n{_NOTES}'


def _main_row(table: Table, row: Row, best: dict[str, float]) -> str:
    cells = "".join(_main_cell(row.figures.get(name), best[name]) for name in table.datasets)
    if table.has_mean:
        cells += f"<td>{number(row.mean_of_13) if row.mean_of_13 is not None else MISSING}</td>"
    kind = "theirs" if row.source is not None else "ours"
    hint = f' title="{escape(row.source)}"' if row.source is not None else ""
    return f'<tr class="{kind}"><th{hint}>{escape(row.system)}</th>{cells}</tr>\n'


def _main_cell(figure: Figure | None, best: float) -> str:
    if figure is None:
        return f'<td class="missing">{MISSING}</td>'
    text = figure_text(figure)
    if figure.value == best:
        text = f"<b>{text}</b>"
    small = []
    if figure.low is not None and figure.high is not None:
        small.append(f"{number(figure.low)}–{number(figure.high)}")
    if figure.delta is not None:
        p = f", p {number(figure.p)}" if figure.p is not None else ""
        small.append(f"Δ {figure.delta:+.3f}{p}")
    return f"<td>{text}{''.join(f'<small>{line}</small>' for line in small)}</td>"


def _machines(table: Table) -> str:
    machines = {
        f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('memory_gib')} GiB"
        for cell in table.cells
        if (machine := cell.content.get("machine"))
    }
    return f"Measured on {'; '.join(sorted(machines))}." if machines else ""
