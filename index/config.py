"""How an index is built, with the parameter names of the Seismic paper (Bruch, Nardini, Rulli, Venturini, SIGIR 2024).

The defaults suit every collection. A parameter that should depend on its size and shape is None: the build decides it
and writes the decision into the manifest.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from index.errors import ConfigError

IMPACT_DTYPES = ("float16", "float32")

# The smallest and the largest value of each integer.
LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "n_postings": (0, 1_000_000_000),
    "min_cluster_size": (1, 1_000_000),
    "summary_lines": (1, 64),
    "short_list": (1, 1_000_000),
    "doc_cut": (1, 1_000_000),
    "n_knn": (0, 1_000),
}
# Names from the paper that are something else here.
_OTHER_NAMES: Final = {
    "summary_energy": "a block's summary is a number of 64-byte lines here: summary_lines",
    "nknn": "the neighbours of each document are n_knn",
}


@dataclass(frozen=True)
class IndexConfig:
    """Build parameters.

    n_postings          times max_fraction: how many of its largest impacts a candidate list keeps; 0: no candidate
                        lists, every search is exact. None: by the size of the collection, and 0 if exact search is as
                        good (see index.building.build)
    max_fraction        see n_postings
    centroid_fraction   blocks of a list, as a share of its postings
    min_cluster_size    smaller clusters are dissolved: their documents join the nearest of the others
    summary_lines       64-byte lines of a block's summary: each holds 20 of its largest values (12 above 65,536 terms)
    short_list          a list of at most this many postings is one block without a summary, always visited
    doc_cut             heaviest terms of a document that clustering compares
    impact_dtype        "float16" or "float32": the type of the canonical impacts
    exact_lists         keep unpruned postings for exact search; None: by the size of the collection, or if the impacts
                        are flat (as BM25's are), since exact search is then the better one
    n_knn               nearest neighbours of each document to keep; finding them costs as much as n_docs searches
    block_maxima        keep bounds of blocks of documents, with which an exact search for few hits skips most
                        documents; needs unpruned postings. None: no (see docs/decisions/0118)
    """

    n_postings: int | None = None
    max_fraction: float = 1.5
    centroid_fraction: float = 0.07
    min_cluster_size: int = 4
    summary_lines: int = 2
    short_list: int = 32
    doc_cut: int = 15
    impact_dtype: str = "float16"
    exact_lists: bool | None = None
    n_knn: int = 0
    block_maxima: bool | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            if name != "n_postings" or self.n_postings is not None:
                _whole(name, getattr(self, name), low, high)
        _in_range("max_fraction", self.max_fraction, 1.0, 1000.0)
        _in_range("centroid_fraction", self.centroid_fraction, 0.0, 1.0)
        for name in ("exact_lists", "block_maxima"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise ConfigError(f"{name} must be true, false or null, not {value!r}", field=name)
        if self.block_maxima and self.exact_lists is False:
            raise ConfigError(
                "block_maxima needs unpruned postings: leave out exact_lists, or block_maxima", field="block_maxima"
            )
        if self.impact_dtype not in IMPACT_DTYPES:
            raise ConfigError(
                f"impact_dtype must be one of {', '.join(IMPACT_DTYPES)}, not {self.impact_dtype!r}",
                field="impact_dtype",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as JSON values; without block_maxima if that is None, as before it existed."""
        values = asdict(self)
        if self.block_maxima is None:
            del values["block_maxima"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> IndexConfig:
        """Return the configuration that `to_json` gave, or that a user gives; what is missing has its default.

        Raises ConfigError, which names the parameter that is unknown or out of its range.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"the parameters are {', '.join(known)}"
                raise ConfigError(f"unknown index parameter {name!r}; {_OTHER_NAMES.get(name, hint)}", field=name)
        return cls(**values)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} must be an integer from {low:,} to {high:,}, not {value!r}", field=name)


def _in_range(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a number, not {value!r}", field=name)
    if not low < value <= high and not (value == low > 0):
        least = f"at least {low:g}" if low > 0 else "above 0"
        raise ConfigError(f"{name} must be {least} and at most {high:g}, not {value!r}", field=name)
