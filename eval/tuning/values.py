"""nDCG@10 of any setting on judged queries, from scores that were taken once.

Each query is searched once, deep; every document that a list found is kept with its score in each list and its dense
similarity. A setting then ranks these as a search for 10 hits would (lsr/search/pipeline.py), by the same functions
and with the same rounding, so that its value is the one that `lsr eval --pipeline` finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eval.tuning.setting import SHOWN, Setting
from lsr.search.fusion import List, contributions
from lsr.search.ranking import Candidates
from lsr.search.request import Method, Rescore
from lsr.search.rescoring import rescored

_DISCOUNTS: Final = 1.0 / np.log2(np.arange(2, SHOWN + 2))
_PREPARED: Final = 2  # normalised lists of all queries that are kept: descent changes mostly the weights

Normalised = tuple[NDArray[np.int64], NDArray[np.float64]]  # candidates int64[m], float64[lists, m]


@dataclass(frozen=True, slots=True)
class Judged:
    """One query with its candidates and their judgements.

    gains  float32[n]  grades of the candidates, 0 where unjudged or negative
    ideal  the discounted gain of the best ranking that the judgements allow
    own    the candidate that must not be ranked (the query's own document), or None
    """

    candidates: Candidates
    gains: NDArray[np.float32]
    ideal: float
    own: int | None


def judge(candidates: Candidates, grades: Mapping[str, int], excluded: str | None) -> Judged:
    """Return candidates with their judgements; `excluded` is the id of a document that must not be ranked."""
    gains = np.array([max(grades.get(name, 0), 0) for name in candidates.ids], dtype=np.float32)
    best = np.sort(np.array([grade for grade in grades.values() if grade > 0], dtype=np.float64))[::-1][:SHOWN]
    own = candidates.ids.index(excluded) if excluded is not None and excluded in candidates.ids else None
    return Judged(candidates, gains, float(best @ _DISCOUNTS[: len(best)]), own)


class Values:
    """The values of settings; each is computed once."""

    def __init__(self, judged: Sequence[Judged], k: int) -> None:
        """`k` is what reciprocal rank adds to a rank."""
        self._judged = judged
        self._k = k
        self._known: dict[Setting, NDArray[np.float64]] = {}
        self._prepared: dict[tuple[tuple[int, ...], Method], list[Normalised]] = {}

    def __len__(self) -> int:
        """The number of settings that were tried."""
        return len(self._known)

    def of(self, setting: Setting) -> NDArray[np.float64]:
        """Return nDCG@10 of each query, float64[queries]."""
        found = self._known.get(setting)
        if found is None:
            lists = self._lists(setting)
            used = [1.0] if setting.is_plain else [weight for weight in setting.weights if weight]
            weights = np.array(used).reshape(-1, 1)
            rescore = Rescore("", setting.candidates, setting.rescore_weight) if setting.rescore_weight else None
            pairs = zip(self._judged, lists, strict=True)
            found = np.array([self._value(one, part, weights, setting.method, rescore) for one, part in pairs])
            self._known[setting] = found
        return found

    def _lists(self, setting: Setting) -> list[Normalised]:
        """Return each query's candidates in this setting, and what each list gives them before it is weighted."""
        method: Method = "sum" if setting.is_plain else setting.method
        key = (setting.reached, method)
        found = self._prepared.get(key)
        if found is None:
            while len(self._prepared) >= _PREPARED:
                del self._prepared[next(iter(self._prepared))]
            found = self._prepared[key] = [self._normalised(one.candidates, *key) for one in self._judged]
        return found

    def _normalised(self, candidates: Candidates, reached: tuple[int, ...], method: Method) -> Normalised:
        used = [at for at, limit in enumerate(reached) if limit]
        ranks = candidates.ranks[used].astype(np.int64)
        ranks[ranks > np.array([reached[at] for at in used]).reshape(-1, 1)] = 0
        rows = np.flatnonzero(ranks.any(axis=0))
        lists = [
            List(candidates.raw[at][rows].astype(np.float64), held[rows]) for at, held in zip(used, ranks, strict=True)
        ]
        return rows, contributions(lists, [1.0] * len(lists), method, self._k)

    def _value(
        self, one: Judged, lists: Normalised, weights: NDArray[np.float64], method: Method, rescore: Rescore | None
    ) -> float:
        rows, normalised = lists
        shares = weights * normalised
        # Candidates are numbered by ascending id, so a stable sort breaks ties as a search does.
        order = np.argsort(-_rounded(shares.sum(axis=0)), kind="stable")
        if rescore is not None:
            first = order[: rescore.candidates]
            cosines = one.candidates.cosines[rows[first]].astype(np.float64)
            added, _ = rescored(cosines, one.candidates.present[rows[first]], rescore, method, self._k)
            scores = _rounded(np.vstack([shares[:, first], added]).sum(axis=0))
            order = np.concatenate([first[np.lexsort((first, -scores))], order[rescore.candidates :]])
        best = rows[order[: SHOWN + 1]]
        if one.own is not None:
            best = best[best != one.own]
        gains = one.gains[best[:SHOWN]].astype(np.float64)
        return float(gains @ _DISCOUNTS[: len(gains)]) / one.ideal if one.ideal else 0.0


def _rounded(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    return scores.astype(np.float32)
