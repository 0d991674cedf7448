"""What `lsr eval` does once its options are read: evaluate, print, keep."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import (
    Dataset,
    SearchSettings,
    SystemSpec,
    cell_content,
    evaluate,
    evaluate_all,
    find_datasets,
    write_cell,
)
from lsr.cli.output import print_json
from lsr.cli.progress import progress_bar
from lsr.cli.running import say
from lsr.errors import ExitCode


@dataclass(frozen=True)
class Request:
    """What is evaluated, and how; see the options of `lsr eval`."""

    collection: Path | None
    encoder: str | None
    encoder_settings: Mapping[str, Any]
    run: Path | None
    split: str | None
    measures: tuple[str, ...]
    k: int | None
    search: SearchSettings
    efficiency: bool
    results: Path | None
    name: str | None


def evaluate_one(dataset: str | Dataset, request: Request, *, as_json: bool) -> None:
    """Evaluate on one data set; print the measures, and the warnings on stderr. Raises what `evaluate` raises."""
    with progress_bar() as progress:
        result = evaluate(
            dataset,
            collection=request.collection,
            encoder=request.encoder,
            encoder_settings=request.encoder_settings,
            run=request.run,
            split=request.split,
            measures=request.measures,
            k=request.k,
            search=request.search,
            efficiency=request.efficiency,
            progress=None if progress is None else lambda done, total: progress("queries", done, total),
            index_progress=progress,
        )
    if as_json:
        print_json(result.to_json())
    else:
        print(result.table())
    for warning in result.warnings:
        say(f"warning: {warning}")
    if request.results is not None:
        path = write_cell(request.results, cell_content(result, command=sys.argv, name=request.name))
        say(f"kept as {path}")


def evaluate_folder(folder: Path, request: Request, *, as_json: bool) -> ExitCode:
    """Evaluate on every BEIR folder in `folder`; PARTIAL when one failed, FAILURE when all did."""
    encoder = request.encoder or "bm25"
    system = SystemSpec(request.name or encoder, encoder, request.encoder_settings, request.search)
    outcomes = evaluate_all(
        find_datasets(folder),
        [system],
        request.results or Path(),
        measures=request.measures,
        k=request.k,
        efficiency=request.efficiency,
        command=sys.argv,
        on_start=lambda dataset, name: say(f"{name} on {dataset} …"),
    )
    good = bad = 0
    for outcome in outcomes:
        if outcome.cell is None:
            bad += 1
            say(f"{outcome.dataset}: {outcome.reason}")
            continue
        good += 1
        measures = dict(outcome.cell.measures)
        if as_json:
            print_json({"dataset": outcome.dataset, "system": outcome.system, "status": outcome.status, **measures})
        else:
            figures = "  ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
            print(f"{outcome.dataset:<24}  {figures}  ({outcome.status})")
    if not bad:
        return ExitCode.OK
    return ExitCode.PARTIAL if good else ExitCode.FAILURE
