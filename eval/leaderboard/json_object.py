"""The leaderboard as one JSON object, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from eval.leaderboard.table import Table


def to_json(table: Table) -> dict[str, Any]:
    """Return data sets with their measures, and a row a system; a missing figure is null, `source` is null for ours."""
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
