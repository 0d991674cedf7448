"""The leaderboard as one self-contained HTML page: table, plots, costs, and how each figure was measured."""

from __future__ import annotations

import shlex
from html import escape

from eval.leaderboard.cells import Cell
from eval.leaderboard.page_costs import cost_sections
from eval.leaderboard.table import Figure, Row, Table
from eval.leaderboard.wording import MISSING, caption, dataset_title, figure_text, headings, number, sources

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


def detail_sections(table: Table) -> str:
    """Return a collapsed block for each cell, and the list of sources."""
    blocks = "\n".join(_cell_details(cell) for cell in table.cells)
    published = "".join(f"<li>{escape(line)}</li>" for line in sources(table))
    listed = f"\n<h2>Sources of the published figures</h2>\n<ul>{published}</ul>" if published else ""
    return f"<h2>How each figure was made</h2>\n{blocks}{listed}"


def _cell_details(cell: Cell) -> str:
    content = cell.content
    dataset, software = content["dataset"], content["software"]
    counts = ", ".join(f"{dataset.get(what)} {what}" for what in ("documents", "queries", "judgements"))
    rows = {
        "data": f"{counts}, SHA-256 {dataset.get('sha256')}",
        "measures": ", ".join(f"{name} {number(value, 4)}" for name, value in cell.measures.items()),
        "settings": ", ".join(f"{key} {value}" for key, value in content["system"].get("settings", {}).items()),
        "versions": ", ".join(f"{name} {version}" for name, version in software.get("versions", {}).items()),
        "commit": str(software.get("commit") or ""),
        "command": shlex.join(content.get("command", [])),
        "made": str(content.get("created", "")),
        "warnings": "; ".join(content.get("warnings", [])),
    }
    terms = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items() if text)
    summary = f"{escape(cell.system)} on {escape(dataset_title(cell.dataset))}"
    return f"<details><summary>{summary}</summary><dl>{terms}</dl></details>"


STYLE = """\
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6775; --line: #d8dee6; --paper: #ffffff; --band: #f4f6f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ef; --soft: #9aa7b5; --line: #35404d; --paper: #151b22; --band: #1d252e; }
} body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; } main {
max-width: 1020px; margin: 0 auto; padding: 24px 20px 60px; } h1 { font-size: 26px; margin: 8px 0 4px; } h2 {
font-size: 19px; margin: 36px 0 8px; } .lead, .notes, .legend { color: var(--soft); } .notes { font-size: 13px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 12px 0;
width: 100%; } th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); vertical-align:
top; } th:first-child { text-align: left; white-space: nowrap; } thead th { font-size: 13px; color: var(--soft);
vertical-align: bottom; } td small { display: block; color: var(--soft); font-size: 11.5px; line-height: 1.35;
white-space: nowrap; } table.costs { font-size: 13px; } table.costs th, table.costs td { padding: 5px 6px; }
table.costs thead th { font-size: 12px; }
td.name, th.name { text-align: left; white-space: nowrap; }
tbody th { font-weight: 600; } tr.theirs th { font-weight: 400; font-style: italic; }
td.missing { color: var(--soft); } tr.rule th { background: var(--band); color: var(--soft); font-size: 12px;
font-weight: 400; padding: 3px 10px; } .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px,
1fr)); gap: 16px; } figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: 6px; } svg.plot {
display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; } svg .title { font-size: 13px;
font-weight: 600; fill: var(--ink); } svg .axis, svg .tick { fill: var(--soft); } svg .label { fill: var(--ink); } svg
.grid { stroke: var(--line); stroke-width: 1; } svg .dot { fill: var(--colour); stroke: var(--paper); stroke-width:
1.5; } svg .line { fill: none; stroke: var(--colour); stroke-width: 2; } .c0 { --colour: #2f6fde; } .c1 { --colour:
#d9622b; } .c2 { --colour: #2a9d6f; } .c3 { --colour: #a24bc4; } .c4 { --colour: #c8a200; } .c5 { --colour: #c93a5b; }
.c6 { --colour: #3aa6b9; } .c7 { --colour: #7a7f87; } .legend span { margin-right: 18px; } .swatch { display:
inline-block; width: 11px; height: 11px; border-radius: 50%; background: var(--colour); margin-right: 6px; } details {
border-bottom: 1px solid var(--line); padding: 6px 0; } summary { cursor: pointer; } dl { display: grid;
grid-template-columns: 90px 1fr; gap: 4px 12px; font-size: 13px; margin: 8px 0; } dt { color: var(--soft); } dd {
margin: 0; overflow-wrap: anywhere; }
"""
