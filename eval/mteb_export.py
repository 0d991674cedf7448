"""A result cell in the format of MTEB's result files, so that it can be compared with MTEB's leaderboard.

MTEB has one folder per model and revision, with one JSON file per task and a `model_meta.json`. Its measures have their
own names (`ndcg_at_10`, `main_score`). Only the values of the cell are written; what MTEB asks of a model and a cell
does not have is null. A model's name has an organisation there: `lsr/` where the system's name has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.errors import EvaluationError
from eval.leaderboard.cells import Cell
from eval.leaderboard.published import primary_measure
from eval.measures import parse_measure

_TASKS = {
    "trec-covid": "TRECCOVID",
    "nfcorpus": "NFCorpus",
    "nq": "NQ",
    "hotpotqa": "HotpotQA",
    "fiqa": "FiQA2018",
    "arguana": "ArguAna",
    "webis-touche2020": "Touche2020",
    "dbpedia-entity": "DBPedia",
    "scidocs": "SCIDOCS",
    "fever": "FEVER",
    "climate-fever": "ClimateFEVER",
    "scifact": "SciFact",
    "quora": "QuoraRetrieval",
    "msmarco-passage/dev-small": "MSMARCO",
}
_FORUM = "cqadupstack/"
_NAMES = {"nDCG": "ndcg", "Recall": "recall", "MRR": "mrr", "MAP": "map", "P": "precision"}


def export_mteb(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Write `folder/<model>/<revision>/<task>.json` for each cell, and model_meta.json; return the task files.

    A data set that is not a task of MTEB keeps its name. Raises EvaluationError for a cell without its main measure.
    """
    written = []
    for cell in cells:
        revision = str(cell.content["system"].get("settings", {}).get("fingerprint") or "no_revision_available")
        name = cell.system if "/" in cell.system.strip("/") else f"lsr/{cell.system}"
        target = folder / _safe(name) / _safe(revision)
        target.mkdir(parents=True, exist_ok=True)
        path = target / f"{_safe(task_name(cell.dataset))}.json"
        path.write_text(json.dumps(to_mteb(cell), indent=2) + "\n", encoding="utf-8")
        (target / "model_meta.json").write_text(json.dumps(_meta(name, revision), indent=2) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _meta(name: str, revision: str) -> dict[str, Any]:
    """Return the fields of MTEB's ModelMeta, which requires each of them."""
    unknown = (
        "loader", "release_date", "languages", "n_parameters", "memory_usage_mb", "max_tokens", "embed_dim", "license",
        "open_weights", "public_training_code", "public_training_data", "use_instructions", "training_datasets",
    )  # fmt: skip
    known = {"name": name, "revision": revision, "similarity_fn_name": "dot", "framework": [], "model_type": ["sparse"]}
    return {**known, **dict.fromkeys(unknown)}


def task_name(dataset: str) -> str:
    """Return MTEB's name of a data set, or the data set's own name if MTEB has none."""
    if dataset.startswith(_FORUM):
        return f"CQADupstack{dataset.removeprefix(_FORUM).capitalize()}Retrieval"
    return _TASKS.get(dataset, dataset)


def to_mteb(cell: Cell) -> dict[str, Any]:
    """Return the cell as the object of one MTEB result file."""
    scores = _scores(cell.measures)
    main = _mteb_name(primary_measure(cell.dataset))
    if main not in scores:
        raise EvaluationError(f"{cell.path} has no {primary_measure(cell.dataset)}, its main measure", field="measures")
    split = str(cell.content["dataset"].get("split") or "test")
    entry = {**scores, "main_score": scores[main], "hf_subset": "default", "languages": ["eng-Latn"]}
    return {
        "dataset_revision": str(cell.content["dataset"].get("sha256")),
        "task_name": task_name(cell.dataset),
        "mteb_version": None,
        "scores": {split: [entry]},
        "evaluation_time": cell.content.get("seconds"),
        "kg_co2_emissions": None,
    }


def _scores(measures: Mapping[str, float]) -> dict[str, float]:
    names = {name: _mteb_name(name) for name in measures}
    return {mteb: measures[name] for name, mteb in names.items() if mteb is not None}


def _mteb_name(name: str) -> str | None:
    measure = parse_measure(name)
    if measure.kind not in _NAMES or measure.rel is not None:
        return None
    # All of MTEB's measures have a cutoff; ours without a cutoff use the depth of the run, 1,000.
    return f"{_NAMES[measure.kind]}_at_{measure.cutoff or 1000}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "__", name)
