"""The leaderboard as aligned text for a terminal, as Markdown, as CSV and as JSON; page.py writes HTML."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from eval.leaderboard.table import Row, Table
from eval.leaderboard.wording import LEGEND, caption, headings, row_texts, sources

COLUMNS = (
    "system", "dataset", "measure", "value", "low", "high", "delta", "p_holm", "zero_shot", "published", "source",
)  # fmt: skip


def to_text(table: Table) -> str:
    """Return aligned columns of plain text; published systems are below a rule."""
    ours = [row_texts(table, row) for row in table.rows if row.source is None]
    theirs = [row_texts(table, row) for row in table.rows if row.source is not None]
    lines = [headings(table), *ours, *theirs]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def write(line: list[str]) -> str:
        padded = [text.rjust(width) for text, width in zip(line, widths, strict=True)]
        padded[0] = line[0].ljust(widths[0])
        return "  ".join(padded).rstrip()

    rule = "  ".join("─" * width for width in widths)
    parts = [write(headings(table)), rule, *map(write, ours)]
    if theirs:
        parts += [rule.replace("─", "╌"), *map(write, theirs)]
    parts += ["", caption(table), LEGEND, *(f"  {line}" for line in sources(table))]
    return "\n".join(parts) + "\n"


def to_markdown(table: Table) -> str:
    """Return the table in Markdown, the legend and the sources; published systems are in italics."""
    heads = headings(table)
    lines = ["| " + " | ".join(map(_escape, heads)) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in table.rows:
        texts = [_escape(text) for text in row_texts(table, row)]
        if row.source is not None:
            texts[0] = f"*{texts[0]}*"
        lines.append("| " + " | ".join(texts) + " |")
    lines += ["", _escape(caption(table)), "", _escape(LEGEND)]
    if sources(table):
        lines += ["", "Published figures:", "", *(f"* {_escape(line)}" for line in sources(table))]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    for character in "\\|*_<":
        text = text.replace(character, f"\\{character}")
    return text


def to_csv(table: Table) -> str:
    """Return one line per figure, with all digits; unknown values are empty, missing figures have no line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table.rows:
        for dataset in table.datasets:
            figure = row.figures.get(dataset)
            if figure is None:
                continue
            optional = (
                "" if value is None else repr(value) for value in (figure.low, figure.high, figure.delta, figure.p)
            )
            value = [row.system, dataset, table.measures[dataset], repr(figure.value)]
            writer.writerow([*value, *optional, int(figure.zero_shot), *_origin(row)])
        if row.mean_of_13 is not None:
            value = [row.system, "BEIR-13 mean", "nDCG@10", repr(row.mean_of_13)]
            writer.writerow([*value, "", "", "", "", "", *_origin(row)])
    return out.getvalue()


def _origin(row: Row) -> list[object]:
    return [int(row.source is not None), row.source or ""]


def to_json(table: Table) -> dict[str, Any]:
    """Return data sets with their measures, and one row per system; a missing figure is null, our `source` is null."""
    return {
        "datasets": {name: table.measures[name] for name in table.datasets},
        "baseline": table.baseline,
        "rows": [
            {
                "system": row.system,
                "source": row.source,
                "mean_of_13": row.mean_of_13,
                "figures": {
                    name: asdict(row.figures[name]) if name in row.figures else None for name in table.datasets
                },
                "efficiency": {name: dict(costs) for name, costs in row.efficiency.items()},
            }
            for row in table.rows
        ],
    }
