"""The leaderboard for a terminal: aligned columns of plain text, which also survive a pipe."""

from __future__ import annotations

from eval.leaderboard.table import Table
from eval.leaderboard.wording import LEGEND, caption, headings, row_texts, sources


def to_text(table: Table) -> str:
    """Return the table as text of fixed width; published systems below a rule."""
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
