"""A setting: everything of the search defaults that is tuned, and the grid of round numbers that is tried.

A list with weight 0 is left out of the search, and so are the candidates that only it finds. Only the proportions of
the weights matter; the grid has some twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lsr.search.defaults import SearchDefaults
from lsr.search.request import DEFAULT_LIMIT, Method

METHODS: Final[tuple[Method, ...]] = ("scaled", "minmax", "zscore", "rrf")
WEIGHTS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
RESCORE_WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
DEPTHS: Final = (20, 50, 100, 200, 500, 1_000)  # of the rescoring
LIMITS: Final = (50, 100, 200, 500, 1_000)  # of each list
SHOWN: Final = 10  # hits of the search that is tuned for


@dataclass(frozen=True, slots=True)
class Lists:
    """What a setting combines: sparse vectors by name, and the dense vector of the rescoring."""

    using: tuple[str, ...]
    dense: str | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to rank. `weights` and `limits` have one number per list; a weight of 0 leaves the list out."""

    method: Method
    weights: tuple[float, ...]
    limits: tuple[int, ...]
    rescore_weight: float  # 0: no rescoring
    candidates: int

    @property
    def is_plain(self) -> bool:
        """Whether one list decides, by its raw scores."""
        return not self.rescore_weight and sum(weight > 0 for weight in self.weights) == 1

    @property
    def cost(self) -> int:
        """How many lists are read, the dense one among them."""
        return sum(weight > 0 for weight in self.weights) + (self.rescore_weight > 0)

    @property
    def reached(self) -> tuple[int, ...]:
        """How many documents a search for 10 asks each list for; 0 of a list that is left out."""
        least = max(SHOWN, self.candidates if self.rescore_weight else 0)
        return tuple(
            max(limit, least) if weight else 0 for limit, weight in zip(self.limits, self.weights, strict=True)
        )


def lists_of(search: SearchDefaults, others: Sequence[str], dense: Sequence[str]) -> Lists:
    """Return what is combined: the lists of the present defaults, then the other sparse vectors.

    others, dense  vectors that can encode a query; of several dense ones the present one counts, or else the first
    """
    using = tuple(leg.using for leg in search.queries)
    chosen = search.rescore.using if search.rescore is not None else next(iter(dense), None)
    return Lists((*using, *(name for name in others if name not in using)), chosen)


def present_setting(search: SearchDefaults, lists: Lists) -> Setting:
    """Return the search defaults as a setting."""
    more = len(lists.using) - len(search.queries)
    rescore = search.rescore
    return Setting(
        search.method,
        (*(search.weights or (1.0,) * len(search.queries)), *(0.0,) * more),
        (*(leg.limit or DEFAULT_LIMIT for leg in search.queries), *(DEFAULT_LIMIT,) * more),
        0.0 if rescore is None else rescore.weight,
        DEFAULT_LIMIT if rescore is None else rescore.candidates,
    )


def alone(at: int, lists: Lists) -> Setting:
    """Return the setting that ranks by one list, unrescored."""
    n = len(lists.using)
    weights = tuple(float(one == at) for one in range(n))
    return Setting("scaled", weights, (DEFAULT_LIMIT,) * n, 0.0, DEFAULT_LIMIT)


def to_search(setting: Setting, lists: Lists, present: SearchDefaults) -> dict[str, Any]:
    """Return a setting as the JSON of search defaults; what is not tuned stays as it is at present."""
    kept = [at for at, weight in enumerate(setting.weights) if weight]
    limits = {at: setting.limits[at] for at in kept if setting.limits[at] != DEFAULT_LIMIT}
    rescore = {"using": lists.dense, "candidates": setting.candidates, "weight": setting.rescore_weight}
    return present.to_json() | {
        "queries": [{"using": lists.using[at]} | ({"limit": limits[at]} if at in limits else {}) for at in kept],
        "method": setting.method,
        "weights": [setting.weights[at] for at in kept],
        "rescore": rescore if setting.rescore_weight else None,
    }


def starts(present: Setting, lists: Lists) -> Iterator[Setting]:
    """Yield the settings that a descent begins at: for each method the present weights, and everything in use."""
    everything = replace(present, weights=(1.0,) * len(lists.using), rescore_weight=0.0 if lists.dense is None else 1.0)
    for method in dict.fromkeys((present.method, *METHODS)):
        yield replace(present, method=method)
        yield replace(everything, method=method)


def coordinates(lists: Lists) -> range:
    """Return the numbers of the coordinates that `along` understands."""
    return range(len(lists.using) + 3)


def along(coordinate: int, setting: Setting, lists: Lists, depth: int) -> list[Setting]:
    """Return the settings that differ in one coordinate; nothing reads more than `depth` documents of a list.

    First the weight of each list, then the weight of the rescoring, its depth, and the limit of all lists.
    """
    n = len(lists.using)
    if coordinate < n:
        before, after = setting.weights[:coordinate], setting.weights[coordinate + 1 :]
        changed = [(*before, weight, *after) for weight in WEIGHTS]
        return [replace(setting, weights=weights) for weights in changed if any(weights)]
    if coordinate == n:
        return [replace(setting, rescore_weight=weight) for weight in RESCORE_WEIGHTS] if lists.dense else []
    if coordinate == n + 1:
        depths = [number for number in DEPTHS if number <= depth and setting.rescore_weight]
        return [replace(setting, candidates=number) for number in depths]
    limits = [number for number in LIMITS if number <= depth and not setting.is_plain]
    return [replace(setting, limits=(number,) * n) for number in limits]
