"""The known data sets, read from datasets.toml: official counts, and the rules of each benchmark."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """One entry of datasets.toml; an unknown count is None."""

    name: str
    title: str
    benchmark: str
    id: str | None = None
    split: str = "test"
    documents: int | None = None
    queries: int | None = None
    judgements: int | None = None
    text: tuple[str, ...] = ("title", "text")
    relevance: int = 1
    exclude_query_id: bool = False
    parts: tuple[str, ...] = ()
    mean_of_13: bool = False


@cache
def known_datasets() -> Mapping[str, KnownDataset]:
    """Return every known data set by its name, in the order of the file."""
    table = tomllib.loads(files("eval").joinpath("datasets.toml").read_text(encoding="utf-8"))
    return {name: _parse(name, entry) for name, entry in table.items()}


def find_known(name: str) -> KnownDataset | None:
    """Return the entry whose name or ir-datasets id is `name` (case-insensitive), or None.

    BEIR's folders of the CQADupStack forums are called `cqadupstack/android` or `android` inside `cqadupstack`.
    """
    wanted = name.lower().strip("/")
    for known in known_datasets().values():
        if wanted in (known.name, known.id):
            return known
    return None


def nearest_names(name: str, more: tuple[str, ...] = ()) -> list[str]:
    """Return up to three known names or ids that are similar to `name`."""
    names = [known.name for known in known_datasets().values()]
    ids = [known.id for known in known_datasets().values() if known.id is not None]
    return difflib.get_close_matches(name.lower(), dict.fromkeys([*names, *ids, *more]), n=3, cutoff=0.6)


def _parse(name: str, entry: Mapping[str, object]) -> KnownDataset:
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return KnownDataset(name=name, **values)  # type: ignore[arg-type]
