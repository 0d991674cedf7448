"""Evaluation: datasets, runs, measures, comparison, leaderboard.

Import what you need from here; it is loaded at the first use (PEP 562), because measures need ranx, which takes seconds
to import, and a search service needs none of it.

    evaluate            a collection, an encoder or a run on a dataset -> Evaluation
    open_dataset        a BEIR folder or an ir-datasets id -> Dataset
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.command import evaluate
    from eval.dataset import Dataset, open_dataset
    from eval.evaluation import Evaluation
    from eval.systems import SearchSettings

__all__ = ["Dataset", "Evaluation", "SearchSettings", "evaluate", "open_dataset"]

_HOMES = {
    "Dataset": "eval.dataset",
    "Evaluation": "eval.evaluation",
    "SearchSettings": "eval.systems",
    "evaluate": "eval.command",
    "open_dataset": "eval.dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
