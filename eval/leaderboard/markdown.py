"""The leaderboard as Markdown, for a README; published systems are in italics."""

from __future__ import annotations

from eval.leaderboard.table import Table
from eval.leaderboard.wording import LEGEND, caption, headings, row_texts, sources


def to_markdown(table: Table) -> str:
    """Return the table, what its marks mean, and the sources of the published figures."""
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
