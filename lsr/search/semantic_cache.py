"""Answers for queries that mean nearly the same, kept apart by category. Off unless a collection's defaults ask for it.

    {"field": "category", "similarity": 0.95, "seconds": 600, "quota": 100,
     "values": {"news": {"similarity": 0.98, "seconds": 60}}}

How near is near enough, how long an answer stays true and how many are worth keeping differ between kinds of queries
("Category-Aware Semantic Caching for Heterogeneous LLM Workloads", 2025). A query's category is the value that its
filter asks of `field`; a query without one is never answered from here. An answer is reused for a query of the same
category, on the same generation, that differs in its text alone, and whose dense vector is within the category's
similarity. It says which query it was computed for.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsr.errors import QueryError
from lsr.results import CachedFrom, SearchResult

_KEYS: Final = frozenset({"field", "similarity", "seconds", "quota", "values"})
_NUMBERS: Final = ("similarity", "seconds", "quota")
_MOST_QUOTA: Final = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """How one category is cached."""

    similarity: float = 0.95
    seconds: float = 600.0
    quota: int = 100


@dataclass(frozen=True)
class SemanticCaching:
    """The policy of each value of a metadata field."""

    field_name: str
    every: Policy
    values: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, category: str) -> Policy:
        """Return the policy of a category."""
        return self.values.get(category, self.every)

    def to_json(self) -> dict[str, Any]:
        """Return what `parse_caching` takes."""
        return {
            "field": self.field_name,
            **_json(self.every),
            "values": {name: _json(one) for name, one in self.values.items()},
        }


def parse_caching(value: object) -> SemanticCaching:
    """Check a policy given as JSON; raises QueryError naming the field."""
    if not isinstance(value, Mapping) or not isinstance(value.get("field"), str) or not set(value) <= _KEYS:
        raise QueryError(
            f"search.cache is an object with field and {', '.join(sorted(_KEYS - {'field'}))}", field="search.cache"
        )
    every = _policy(
        {name: value[name] for name in ("similarity", "seconds", "quota") if name in value}, Policy(), "search.cache"
    )
    own = value.get("values", {})
    if not isinstance(own, Mapping):
        raise QueryError("search.cache.values is an object", field="search.cache.values")
    return SemanticCaching(
        value["field"],
        every,
        {str(name): _policy(one, every, f"search.cache.values.{name}") for name, one in own.items()},
    )


def category_of(condition: object, name: str) -> str | None:
    """Return the value that a filter asks of the field; None where it asks for none, or for several."""
    if not isinstance(condition, Mapping):
        return None
    asked = condition.get(name)
    if isinstance(asked, Mapping):
        asked = asked.get("eq") if set(asked) == {"eq"} else None
    return asked if isinstance(asked, str) else None


@dataclass(slots=True)
class _Entry:
    text: str
    vector: NDArray[np.float32]
    result: SearchResult
    expires: float


class SemanticCache:
    """Answers by category. Safe to use from many threads."""

    def __init__(self) -> None:
        self.hits: dict[str, int] = {}
        self.misses: dict[str, int] = {}
        # By category, the least recently used first.
        self._entries: dict[str, OrderedDict[tuple[Hashable, str], _Entry]] = {}
        self._lock = threading.Lock()

    def find(self, category: str, policy: Policy, key: Hashable, vector: NDArray[np.float32]) -> SearchResult | None:
        """Return the answer of the nearest query of the category that is near enough.

        key     what the requests must share: content and options, without the text
        vector  float32[size], length 1
        """
        now = time.monotonic()
        with self._lock:
            entries = self._entries.setdefault(category, OrderedDict())
            for name in [name for name, entry in entries.items() if entry.expires < now]:
                del entries[name]
            same = [(name, entry) for name, entry in entries.items() if name[0] == key]
            if same:
                similarities = np.stack([entry.vector for _, entry in same]) @ vector
                nearest = int(np.argmax(similarities))
                if similarities[nearest] >= policy.similarity:
                    name, entry = same[nearest]
                    entries.move_to_end(name)
                    self.hits[category] = self.hits.get(category, 0) + 1
                    similarity = float(min(similarities[nearest], 1.0))
                    return replace(entry.result, cached=CachedFrom(entry.text, similarity))
            self.misses[category] = self.misses.get(category, 0) + 1
            return None

    def put(
        self, category: str, policy: Policy, key: Hashable, text: str, vector: NDArray[np.float32], result: SearchResult
    ) -> None:
        """Keep an answer, and drop the least recently used beyond the category's quota."""
        with self._lock:
            entries = self._entries.setdefault(category, OrderedDict())
            entries[(key, text)] = _Entry(text, vector, result, time.monotonic() + policy.seconds)
            entries.move_to_end((key, text))
            while len(entries) > policy.quota:
                entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything but the counts."""
        with self._lock:
            self._entries.clear()


def _policy(value: object, other: Policy, where: str) -> Policy:
    if not isinstance(value, Mapping) or not set(value) <= set(_NUMBERS):
        raise QueryError(f"{where} is an object with similarity, seconds and quota", field=where)
    made = replace(other, **value)
    for name, least, most in (("similarity", 0.0, 1.0), ("seconds", 0.0, 31_536_000.0), ("quota", 0, _MOST_QUOTA)):
        number = getattr(made, name)
        kind = int if name == "quota" else (int, float)
        if isinstance(number, bool) or not isinstance(number, kind) or not least < number <= most:
            raise QueryError(
                f"{where}.{name} must be above {least} and at most {most}, not {number!r}", field=f"{where}.{name}"
            )
    return made


def _json(policy: Policy) -> dict[str, Any]:
    return {"similarity": policy.similarity, "seconds": policy.seconds, "quota": policy.quota}
