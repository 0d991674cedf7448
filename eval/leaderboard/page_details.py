"""The page's part on provenance: how each of our figures was made, and where the published ones come from."""

from __future__ import annotations

import shlex
from html import escape

from eval.leaderboard.cells import Cell
from eval.leaderboard.table import Table
from eval.leaderboard.wording import dataset_title, number, sources


def detail_sections(table: Table) -> str:
    """Return a block to unfold for each cell, and the list of sources."""
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
