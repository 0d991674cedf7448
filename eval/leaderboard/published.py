"""Published figures from published.toml, with their sources and the data sets that are not zero-shot."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class PublishedSystem:
    """A system's published figures by data set name; `mean_of_13` is the mean that the source reports."""

    name: str
    source: str
    figures: Mapping[str, float]
    mean_of_13: float | None = None
    not_zero_shot: frozenset[str] = frozenset()


@cache
def published_systems() -> tuple[PublishedSystem, ...]:
    """Return every published system in the order of the file."""
    table = tomllib.loads(files("eval").joinpath("published.toml").read_text(encoding="utf-8"))
    return tuple(
        PublishedSystem(
            name=name,
            source=entry["source"],
            figures=entry["figures"],
            mean_of_13=entry.get("mean_of_13"),
            not_zero_shot=frozenset(entry.get("not_zero_shot", ())),
        )
        for name, entry in table.items()
    )


def primary_measure(dataset: str) -> str:
    """Return the measure that the literature reports on a data set: nDCG@10, but MRR@10 for MS MARCO's dev sets."""
    is_dev = dataset.startswith("msmarco") and "/dev" in dataset
    return "MRR@10" if is_dev else "nDCG@10"
