"""The measures by name: `nDCG@10`, `Recall@100`, `MRR@10`, `MAP`, `P@10`, `Judged@10`.

`@k` cuts the ranking; without it the whole ranking counts. `(rel=2)` before it, as in `MAP(rel=2)@1000`, sets the
lowest relevant grade (default 1; MS MARCO's DL tracks use 2 for all measures but nDCG). The names of ir_measures and
trec_eval (`R@100`, `RR@10`, `AP`, `ndcg_cut_10`) also work, and names are case-insensitive.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eval.errors import UnknownMeasure

Kind = Literal["nDCG", "Recall", "MRR", "MAP", "P", "Judged"]
DEFAULT_MEASURES = ("nDCG@10", "Recall@100", "MRR@10", "MAP")

_KINDS: dict[str, Kind] = {
    "ndcg": "nDCG",
    "ndcg_cut": "nDCG",
    "recall": "Recall",
    "r": "Recall",
    "mrr": "MRR",
    "rr": "MRR",
    "recip_rank": "MRR",
    "map": "MAP",
    "ap": "MAP",
    "map_cut": "MAP",
    "p": "P",
    "precision": "P",
    "judged": "Judged",
}
_NEED_CUTOFF = frozenset({"P", "Judged"})
_PATTERN = re.compile(r"(?P<kind>[a-z_]+?)(?:\(rel=(?P<rel>[1-9]\d{0,3})\))?(?:[@_](?P<cutoff>[1-9]\d{0,5}))?")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure; `cutoff` None: the whole ranking; `rel`: the lowest relevant grade (None: the usual one)."""

    kind: Kind
    cutoff: int | None = None
    rel: int | None = None

    @property
    def takes_relevance(self) -> bool:
        """Whether the measure uses binary relevance."""
        return self.kind not in ("nDCG", "Judged")

    def __str__(self) -> str:
        level = f"(rel={self.rel})" if self.rel is not None else ""
        return f"{self.kind}{level}" + (f"@{self.cutoff}" if self.cutoff is not None else "")


def parse_measure(name: str) -> Measure:
    """Return the measure called `name`. Raises UnknownMeasure with the nearest known name."""
    match = _PATTERN.fullmatch(name.strip().lower())
    kind = _KINDS.get(match["kind"]) if match else None
    if match is None or kind is None:
        stem = re.split(r"[@(]", name.strip(), maxsplit=1)[0].lower()
        near = difflib.get_close_matches(stem, _KINDS, n=1, cutoff=0.5)
        hint = f"; did you mean {_KINDS[near[0]]}?" if near else ""
        raise UnknownMeasure(
            f"unknown measure {name!r}{hint} Known: nDCG@k, Recall@k, MRR@k, MAP, P@k, Judged@k, each with (rel=N)",
            field="measures",
        )
    if match["cutoff"] is None and kind in _NEED_CUTOFF:
        raise UnknownMeasure(f"the measure {name!r} needs a cutoff, such as {kind}@10", field="measures")
    measure = Measure(
        kind, int(match["cutoff"]) if match["cutoff"] else None, int(match["rel"]) if match["rel"] else None
    )
    if measure.rel is not None and not measure.takes_relevance:
        raise UnknownMeasure(
            f"{name!r}: {kind} does not support (rel=…): it uses the grades directly", field="measures"
        )
    return measure


def parse_measures(names: Sequence[str]) -> tuple[Measure, ...]:
    """Return the measures by name, in order, each once. A name may be a list separated by commas or spaces."""
    parts = [part for name in names for part in re.split(r"[,\s]+", name) if part]
    if not parts:
        raise UnknownMeasure("no measure is given", field="measures")
    return tuple(dict.fromkeys(parse_measure(part) for part in parts))


def with_relevance(measures: Sequence[Measure], level: int) -> tuple[Measure, ...]:
    """Return the measures with the data set's lowest relevant grade where none is set; the usual grade is 1."""
    if level == 1:
        return tuple(measures)
    return tuple(Measure(m.kind, m.cutoff, level) if m.takes_relevance and m.rel is None else m for m in measures)
