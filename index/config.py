"""How an index is built, with the parameter names of the Seismic paper (Bruch, Nardini, Rulli, Venturini, SIGIR 2024).

The defaults suit every collection. A parameter that should depend on its size and shape is None: the build decides it
and writes the decision into the manifest.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from index.errors import ConfigError

IMPACT_DTYPES = ("float16", "float32")


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
        if self.n_postings is not None:
            _whole("n_postings", self.n_postings, at_least=0)
        _whole("min_cluster_size", self.min_cluster_size)
        _whole("doc_cut", self.doc_cut)
        _in_range("max_fraction", self.max_fraction, 1.0, 1000.0)
        _in_range("centroid_fraction", self.centroid_fraction, 0.0, 1.0)
        _whole("summary_lines", self.summary_lines)
        _whole("short_list", self.short_list)
        _whole("n_knn", self.n_knn, at_least=0)
        if self.block_maxima and self.exact_lists is False:
            raise ConfigError("block_maxima needs unpruned postings: leave out exact_lists, or block_maxima")
        if self.impact_dtype not in IMPACT_DTYPES:
            raise ConfigError(f"impact_dtype must be one of {', '.join(IMPACT_DTYPES)}, not {self.impact_dtype!r}")

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as JSON values; without block_maxima if that is None, as before it existed."""
        values = asdict(self)
        if self.block_maxima is None:
            del values["block_maxima"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> IndexConfig:
        """Return the configuration that `to_json` gave; raises ConfigError for an unknown parameter."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigError(f"unknown index parameter {unknown[0]!r}")
        return cls(**values)


def _whole(name: str, value: object, at_least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ConfigError(f"{name} must be an integer of at least {at_least}, not {value!r}")


def _in_range(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a number, not {value!r}")
    if not low < value <= high and not (value == low > 0):
        raise ConfigError(f"{name} must be above {low:g} and at most {high:g}, not {value!r}")
