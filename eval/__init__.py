"""Evaluation: datasets, runs, measures, comparison, leaderboard.

Import the names from here; each is loaded at its first use (PEP 562), because measures need ranx, which takes seconds
to import, and a search service needs none of this.

    evaluate            a collection, an encoder or a run on a data set -> Evaluation
    evaluate_all        many data sets and systems, one JSON cell each, resumable
    open_dataset        a BEIR folder or an ir-datasets id -> Dataset
    read_cells, build_table, then to_text, to_markdown, to_csv, to_html, to_json     the leaderboard
    export_mteb         cells as MTEB's result files
    tune                search defaults chosen by judgements -> Tuning, with held-out figures
    compare_runs        two runs on a data set: significance tests, wins and losses
    side_by_side_table  one query's documents in two runs
    diagnose_query      the matched terms of one query, in one collection or several
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.batch import Outcome, SystemSpec, evaluate_all, find_datasets
    from eval.comparison.diagnosis import diagnose, diagnose_query
    from eval.comparison.runs import compare_runs, side_by_side_table
    from eval.dataset import Dataset, from_trec_files, open_dataset
    from eval.evaluate_system import evaluate
    from eval.evaluation import Evaluation
    from eval.leaderboard.cells import cell_content, read_cells, write_cell
    from eval.leaderboard.formats import to_csv, to_json, to_markdown, to_text
    from eval.leaderboard.page import to_html
    from eval.leaderboard.table import build_table
    from eval.mteb_export import export_mteb
    from eval.systems import SearchSettings
    from eval.tuning.held_out import Tuning, tune

_HOMES = {
    "Dataset": "eval.dataset",
    "Evaluation": "eval.evaluation",
    "Outcome": "eval.batch",
    "SearchSettings": "eval.systems",
    "SystemSpec": "eval.batch",
    "Tuning": "eval.tuning.held_out",
    "build_table": "eval.leaderboard.table",
    "cell_content": "eval.leaderboard.cells",
    "compare_runs": "eval.comparison.runs",
    "diagnose": "eval.comparison.diagnosis",
    "diagnose_query": "eval.comparison.diagnosis",
    "evaluate": "eval.evaluate_system",
    "evaluate_all": "eval.batch",
    "export_mteb": "eval.mteb_export",
    "find_datasets": "eval.batch",
    "from_trec_files": "eval.dataset",
    "open_dataset": "eval.dataset",
    "read_cells": "eval.leaderboard.cells",
    "side_by_side_table": "eval.comparison.runs",
    "to_csv": "eval.leaderboard.formats",
    "to_html": "eval.leaderboard.page",
    "to_json": "eval.leaderboard.formats",
    "to_markdown": "eval.leaderboard.formats",
    "to_text": "eval.leaderboard.formats",
    "tune": "eval.tuning.held_out",
    "write_cell": "eval.leaderboard.cells",
}
__all__ = [
    "Dataset",
    "Evaluation",
    "Outcome",
    "SearchSettings",
    "SystemSpec",
    "Tuning",
    "build_table",
    "cell_content",
    "compare_runs",
    "diagnose",
    "diagnose_query",
    "evaluate",
    "evaluate_all",
    "export_mteb",
    "find_datasets",
    "from_trec_files",
    "open_dataset",
    "read_cells",
    "side_by_side_table",
    "to_csv",
    "to_html",
    "to_json",
    "to_markdown",
    "to_text",
    "tune",
    "write_cell",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
