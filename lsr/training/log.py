"""The log of a run: JSON lines to plot, and to resume.

{"step": 10, "loss": 1.7, "loss_infonce": 1.6, "regulariser": 2.1, "document_lambda": 0.0004, "document_terms": 143,
 "accuracy": 0.8, "gradient_norm": 0.9, "learning_rate": 2e-05, "seconds": 31.2}
{"step": 500, "evaluation": {"held_out nDCG@10": 0.71}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Log:
    """A log file that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def restart(self) -> None:
        """Begin an empty log."""
        self.path.write_text("")

    def cut(self, step: int) -> None:
        """Drop the lines after `step`, which the resumed run writes again, and an incomplete last line."""
        kept = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            try:
                if int(json.loads(line).get("step", 0)) <= step:
                    kept.append(line + "\n")
            except ValueError:
                break
        self.path.write_text("".join(kept))

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one line."""
        with self.path.open("a") as file:
            file.write(json.dumps({name: _short(value) for name, value in record.items()}) + "\n")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
