"""Many evaluations, resumable: all data sets of a folder with all given systems, one cell per file.

Finished cells are not computed again: a cell is finished if it has the same system settings, measures, depth and data
files. A data set that fails is reported, and the others continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.dataset import Dataset, open_dataset
from eval.errors import InputFileError
from eval.evaluate_system import evaluate
from eval.evaluation import depth_for
from eval.leaderboard.cells import Cell, cell_content, cell_path, read_cell, write_cell
from eval.measures import DEFAULT_MEASURES, parse_measures, with_relevance
from eval.sources.beir_folder import is_beir_folder
from eval.systems import BASELINE_ENCODER, SearchSettings
from lsr.errors import EXPECTED_ERRORS

_PARENTS = frozenset({"cqadupstack"})  # a folder of BEIR folders


@dataclass(frozen=True)
class SystemSpec:
    """A system to evaluate: an encoder with its settings, and the search settings; `name` is its name in tables."""

    name: str = BASELINE_ENCODER
    encoder: str = BASELINE_ENCODER
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)
    search: SearchSettings = field(default_factory=SearchSettings)

    def request(self) -> dict[str, Any]:
        """Return the request as JSON values; a cell stores it, so that it can be recognised."""
        search = self.search.to_json()
        return {"encoder": self.encoder, "encoder_settings": dict(self.encoder_settings), "search": search}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one data set and system: `done`, `kept` (an existing cell) or `failed` with the reason."""

    dataset: str
    system: str
    status: str
    cell: Cell | None = None
    reason: str = ""


def find_datasets(folder: Path) -> list[Path]:
    """Return the BEIR folders inside `folder` (and inside its `cqadupstack`), sorted.

    Raises InputFileError if there are none.
    """
    if not folder.is_dir():
        raise InputFileError(folder, "is not a folder")
    candidates = [child for child in folder.iterdir() if child.is_dir()]
    candidates += [forum for child in candidates if child.name in _PARENTS for forum in child.iterdir()]
    found = sorted(child for child in candidates if child.is_dir() and is_beir_folder(child))
    if not found:
        raise InputFileError(folder, "contains no BEIR folders (each has corpus.jsonl, queries.jsonl and qrels/)")
    return found


def evaluate_all(
    datasets: Sequence[Path | str],
    systems: Sequence[SystemSpec],
    results: Path,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    k: int | None = None,
    efficiency: bool = False,
    drop_own_document: bool | None = None,
    resume: bool = True,
    command: Sequence[str] = (),
    on_start: Callable[[str, str], None] | None = None,
) -> Iterator[Outcome]:
    """Evaluate every system on every data set, write a cell for each, and yield the outcomes.

    With `resume`, an existing cell of the same request and data is kept. `on_start` is called with (data set, system)
    before each evaluation.
    """
    for spec in datasets:
        try:
            dataset = open_dataset(spec, drop_own_document=drop_own_document)
            sha256 = dataset.data_hash()
        except EXPECTED_ERRORS as error:
            yield from (Outcome(str(spec), system.name, "failed", reason=str(error)) for system in systems)
            continue
        for system in systems:
            existing = _finished(results, dataset, sha256, system, measures, k, efficiency) if resume else None
            if existing is not None:
                yield Outcome(dataset.name, system.name, "kept", existing)
                continue
            if on_start is not None:
                on_start(dataset.name, system.name)
            try:
                cell = _evaluate_one(dataset, system, results, measures, k, efficiency, command)
            except EXPECTED_ERRORS as error:
                yield Outcome(dataset.name, system.name, "failed", reason=str(error))
                continue
            yield Outcome(dataset.name, system.name, "done", cell)


def _evaluate_one(
    dataset: Dataset,
    system: SystemSpec,
    results: Path,
    measures: Sequence[str],
    k: int | None,
    efficiency: bool,
    command: Sequence[str],
) -> Cell:
    result = evaluate(
        dataset,
        encoder=system.encoder,
        encoder_settings=system.encoder_settings,
        measures=measures,
        k=k,
        search=system.search,
        efficiency=efficiency,
    )
    content = cell_content(result, command=command, name=system.name) | {"request": system.request()}
    path = cell_path(results, dataset.name, system.name)
    path.unlink(missing_ok=True)  # it belongs to another request or other data; otherwise it would have been kept
    return read_cell(write_cell(results, content))


def _finished(
    results: Path,
    dataset: Dataset,
    sha256: str | None,
    system: SystemSpec,
    measures: Sequence[str],
    k: int | None,
    efficiency: bool,
) -> Cell | None:
    """Return the existing cell that answers the request, or None."""
    path = cell_path(results, dataset.name, system.name)
    if not path.exists():
        return None
    try:
        cell = read_cell(path)
    except InputFileError:
        return None  # truncated or damaged: computed again
    parsed = with_relevance(parse_measures(measures), dataset.relevance)
    # Older cells do not say it: then the data set's name decided.
    by_name = dataset.known is not None and dataset.known.exclude_query_id
    dropped = cell.content["dataset"].get("own_document", {}).get("dropped", by_name)
    same = (
        dropped == dataset.own_document.dropped
        and cell.content.get("request") == system.request()
        and cell.content["dataset"].get("sha256") == sha256
        and cell.content.get("depth") == depth_for(parsed, k)
        and {str(measure) for measure in parsed} <= set(cell.measures)
        and (bool(cell.efficiency) or not efficiency)
    )
    return cell if same else None
