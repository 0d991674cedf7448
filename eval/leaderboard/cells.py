"""A cell: one system's result on one data set, as one JSON file.

    results/scifact--bm25.json

It has everything that is needed to judge and reproduce the figure: the data set with a hash of its files, the system
with its settings, the measures with their bootstrap intervals and the values of each query (for significance tests
against later systems), versions, commit, command, machine and time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.comparison.significance import mean_interval
from eval.errors import EvaluationError, InputFileError
from eval.evaluation import Evaluation
from eval.machine import describe_machine, describe_software
from eval.sources.text_lines import content_hash
from lsr.errors import InvalidJson
from lsr.output_file import output_file
from lsr.strict_json import loads

FORMAT = "lsr-result/1"
_REQUIRED: Mapping[str, type] = {"dataset": dict, "system": dict, "measures": dict, "per_query": dict, "software": dict}


@dataclass(frozen=True)
class Cell:
    """A cell that was read; `content` is the whole JSON object."""

    path: Path
    content: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.content["dataset"]["name"])

    @property
    def system(self) -> str:
        """The system's name."""
        return str(self.content["system"]["name"])

    @property
    def measures(self) -> Mapping[str, float]:
        """Means by measure."""
        measures: Mapping[str, float] = self.content["measures"]
        return measures

    @property
    def efficiency(self) -> Mapping[str, Any]:
        """The figures of eval.efficiency; empty if not measured."""
        return self.content.get("efficiency") or {}

    def values(self, measure: str) -> Mapping[str, float]:
        """Values by query id."""
        values: Mapping[str, float] = self.content["per_query"][measure]
        return values

    def interval(self, measure: str) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of the mean."""
        interval = self.content.get("intervals", {}).get(measure)
        return (float(interval[0]), float(interval[1])) if interval else None


def cell_path(folder: Path, dataset: str, system: str) -> Path:
    """Return the path of the cell of a data set and a system."""
    return folder / f"{_slug(dataset)}--{_slug(system)}.json"


def cell_content(result: Evaluation, *, command: Sequence[str] = (), name: str | None = None) -> dict[str, Any]:
    """Return a result as the JSON object of a cell; `name` replaces the system's own name."""
    values = {str(measure): found for measure, found in result.values.items()}
    return {
        "format": FORMAT,
        "dataset": {
            "name": result.dataset,
            "split": result.split,
            "queries": len(result.query_ids),
            "judgements": result.judgements,
            "documents": result.documents,
            "sha256": content_hash(result.files) if result.files else None,
            "own_document": {"dropped": result.own_document_dropped, "queries": result.own_documents},
        },
        "system": {"name": name or result.system, "settings": dict(result.settings)},
        "depth": result.depth,
        "measures": result.means,
        "intervals": {measure: list(mean_interval(found)) for measure, found in values.items()},
        "without_results": result.without_results,
        "seconds": round(result.seconds, 3),
        "efficiency": dict(result.efficiency) if result.efficiency is not None else None,
        "machine": describe_machine(),
        "software": describe_software(),
        "command": list(command),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "warnings": list(result.warnings),
        "per_query": {measure: _by_query(result.query_ids, found) for measure, found in values.items()},
    }


def write_cell(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write a cell, completely or not at all, and return its path.

    Raises EvaluationError if a cell with the same name but other settings exists, which would be lost.
    """
    path = cell_path(folder, content["dataset"]["name"], content["system"]["name"])
    if path.exists():
        existing = read_cell(path).content
        if _settings(existing) != _settings(content):
            raise EvaluationError(
                f"{path} has a result of {content['system']['name']!r} with other settings; give this result another "
                "name, or remove the file",
                field="name",
            )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with output_file(path) as file:
        file.write(text.encode(errors="replace"))  # a path that is not UTF-8 is only a note here
    return path


def read_cell(path: Path) -> Cell:
    """Read a cell. Raises InputFileError if the file is not a cell, and names what is missing."""
    try:
        content = loads(path.read_bytes())
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}") from None
    except InvalidJson as error:
        raise InputFileError(path, str(error)) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputFileError(path, f"is not a result of `lsr eval --results` (its format is not {FORMAT!r})")
    for field, kind in _REQUIRED.items():
        if not isinstance(content.get(field), kind):
            raise InputFileError(path, f"the field {field!r} is missing or has the wrong type")
    for field in ("dataset", "system"):
        if not isinstance(content[field].get("name"), str):
            raise InputFileError(path, f"the field {field}.name is missing")
    for measure, mean in content["measures"].items():
        if isinstance(mean, bool) or not isinstance(mean, (int, float)):
            raise InputFileError(path, f"measures.{measure} is not a number")
        if not isinstance(content["per_query"].get(measure), dict):
            raise InputFileError(path, f"per_query.{measure} is missing")
    return Cell(path, content)


def read_cells(paths: Iterable[Path]) -> list[Cell]:
    """Read cells from files and folders (files named `*--*.json`), sorted by data set and system.

    Raises InputFileError for a path that does not exist, a file that is not a cell, and two cells of one data set and
    system.
    """
    cells: dict[tuple[str, str], Cell] = {}
    for path in paths:
        if not path.exists():
            raise InputFileError(path, "does not exist")
        for file in sorted(path.glob("*--*.json")) if path.is_dir() else [path]:
            cell = read_cell(file)
            other = cells.setdefault((cell.dataset, cell.system), cell)
            if other is not cell and other.path.resolve() != file.resolve():
                raise InputFileError(
                    file, f"is a second result of {cell.system!r} on {cell.dataset}; the other is {other.path}"
                )
    return [cells[key] for key in sorted(cells)]


def _by_query(query_ids: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(query_ids, values.tolist(), strict=True))


def _settings(content: Mapping[str, Any]) -> tuple[Any, ...]:
    settings = {key: value for key, value in content["system"]["settings"].items() if key != "fingerprint"}
    return (settings, content.get("depth"), content["dataset"].get("split"))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", name).strip("._") or "_"
