"""A collection's search defaults: how a query is ranked that does not say.

    {"queries": [{"using": "default"}, {"using": "bm25"}], "method": "scaled", "weights": [1, 1], "k": 60,
     "rescore": {"using": "meaning", "candidates": 100, "weight": 1.0}, "cache": {"field": "category", …}}

A collection without them ranks by its default vector alone. They are a setting of the catalog and touch no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from lsr.default_pipeline import defaults_for
from lsr.documents import DEFAULT_VECTOR
from lsr.errors import QueryError
from lsr.search.request import MAX_LEGS, MAX_LIMIT, RRF_K, Method, Rescore, check_fusion, check_integer
from lsr.search.semantic_cache import SemanticCaching, parse_caching
from lsr.storage.layout import SEARCH_SETTING
from lsr.storage.live_state import LiveState, ReadState
from lsr.vectors import VectorConfig

_KEYS = frozenset({"queries", "method", "weights", "k", "rescore", "cache"})


@dataclass(frozen=True, slots=True)
class LegDefault:
    """A list of the default ranking."""

    using: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """The default ranking. One list without rescoring is ranked by its raw scores."""

    queries: tuple[LegDefault, ...]
    method: Method = "scaled"
    weights: tuple[float, ...] = ()  # one per list; empty: 1 each
    k: int = RRF_K
    rescore: Rescore | None = None
    cache: SemanticCaching | None = None

    @property
    def is_plain(self) -> bool:
        """Whether one list decides, by its raw scores."""
        return len(self.queries) == 1 and self.rescore is None

    def to_json(self) -> dict[str, Any]:
        """Return what `parse_defaults` takes."""
        return {
            "queries": [
                {"using": leg.using} | ({} if leg.limit is None else {"limit": leg.limit}) for leg in self.queries
            ],
            "method": self.method,
            "weights": list(self.weights or (1.0,) * len(self.queries)),
            "k": self.k,
            "rescore": None
            if self.rescore is None
            else {
                "using": self.rescore.using,
                "candidates": self.rescore.candidates,
                "weight": self.rescore.weight,
            },
            "cache": None if self.cache is None else self.cache.to_json(),
        }


PLAIN: Final = SearchDefaults((LegDefault(DEFAULT_VECTOR),))  # by the default vector alone, or the only one


def parse_defaults(value: object, sparse: Mapping[str, Any], dense: Mapping[str, Any]) -> SearchDefaults:
    """Check search defaults given as JSON against a collection's named vectors; raises QueryError naming the field."""
    if not isinstance(value, Mapping):
        raise QueryError("search is an object", field="search")
    unknown = sorted(str(key) for key in value if key not in _KEYS)
    if unknown:
        raise QueryError(f"search: unknown field {unknown[0]!r}; it has {', '.join(sorted(_KEYS))}", field="search")
    queries = value.get("queries")
    legs = tuple(_leg(leg, at, sparse, dense) for at, leg in enumerate(queries)) if isinstance(queries, list) else ()
    if not 1 <= len(legs) <= MAX_LEGS:
        raise QueryError(f"search.queries is a list of 1 to {MAX_LEGS} objects", field="search.queries")
    weights, method, k = value.get("weights"), value.get("method", "scaled"), value.get("k", RRF_K)
    if weights is not None and not isinstance(weights, list):
        raise QueryError("search.weights is a list of numbers", field="search.weights")
    check_fusion(method, weights, k, len(legs), "search")
    rescore, caching = value.get("rescore"), value.get("cache")
    return SearchDefaults(
        legs,
        method,
        tuple(map(float, weights or ())),
        k,
        None if rescore is None or rescore is False else parse_rescore(rescore, dense),
        None if caching is None or caching is False else parse_caching(caching),
    )


def parse_rescore(value: object, dense: Mapping[str, Any]) -> Rescore:
    """Check a rescoring given as JSON; raises QueryError naming the field."""
    if not isinstance(value, Mapping) or not {"using"} <= set(value) <= {"using", "candidates", "weight"}:
        raise QueryError("rescore is an object with using, candidates and weight", field="rescore")
    check_dense(value["using"], dense)
    return Rescore(**value)


def check_dense(using: object, dense: Mapping[str, Any]) -> None:
    """Raise QueryError unless `using` names a dense vector."""
    if using not in dense:
        known = ", ".join(sorted(dense)) or "none"
        raise QueryError(f"rescore.using: dense vector {using!r} does not exist; known: {known}", field="rescore.using")


def _leg(value: object, at: int, sparse: Mapping[str, Any], dense: Mapping[str, Any]) -> LegDefault:
    where = f"search.queries[{at}]"
    if not isinstance(value, Mapping) or not {"using"} <= set(value) <= {"using", "limit"}:
        raise QueryError(f"{where} is an object with using, and limit if needed", field=where)
    using, limit = value["using"], value.get("limit")
    if using in dense:
        raise QueryError(
            f"{where}.using: {using!r} is a dense vector, which scores the candidates of others: give it as `rescore`",
            field=f"{where}.using",
        )
    if using not in sparse:
        raise QueryError(
            f"{where}.using: vector {using!r} does not exist; known: {', '.join(sorted(sparse))}",
            field=f"{where}.using",
        )
    if limit is not None:
        check_integer(f"{where}.limit", limit, 1, MAX_LIMIT)
    return LegDefault(str(using), limit)


def defaults_of(state: ReadState) -> SearchDefaults:
    """Return an open collection's search defaults."""
    stored = state.search
    if stored is None:
        return PLAIN
    known = _PARSED.get(state)
    if known is None or known[0] is not stored:
        known = _PARSED[state] = (stored, parse_defaults(stored, state.vectors, state.dense))
    return known[1]


def stored_defaults(vectors: Mapping[str, VectorConfig], search: object = None) -> dict[str, Any]:
    """Return the catalog's setting for a new collection with these vectors; empty for none. Raises QueryError."""
    wanted = defaults_for(vectors) if search is None else search
    if wanted is None:
        return {}
    sparse = {name: config for name, config in vectors.items() if not config.dense}
    dense = {name: config for name, config in vectors.items() if config.dense}
    return {SEARCH_SETTING: parse_defaults(wanted, sparse, dense).to_json()}


def store_defaults(state: LiveState, value: object) -> SearchDefaults:
    """Replace the search defaults, durably; raises QueryError, StorageFull."""
    parsed = parse_defaults(value, state.vectors, state.dense)
    stored = parsed.to_json()
    with state.changing, state.catalog.transaction() as change:
        change.set_setting(SEARCH_SETTING, stored)
        state.search = stored
    return parsed


_PARSED: WeakKeyDictionary[ReadState, tuple[Any, SearchDefaults]] = WeakKeyDictionary()
