"""Requests that a plain service and a router must answer alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from lsr.documents import Document
from lsr.vectors import VectorConfig

WORDS = ("lobster", "roll", "heart", "attack", "sparse", "vector", "river", "stone", "light", "seven")
VECTORS = {"default": VectorConfig("bm25")}
SCHEMA = {"year": "int", "tag": "keyword"}
_TIMES = frozenset(
    {
        "took_ms",
        "timings",
        "next_cursor",
        "bytes",
        "stored",
        "segments",
        "read_only",
        "pending",
        "deleted",
        "request_id",
    }
)


def documents(count: int = 400) -> list[Document]:
    """Documents that differ little, so that many scores are equal."""
    return [
        Document(
            f"d{number:04}",
            title=f"{WORDS[number % 10]} {number}",
            text=" ".join(WORDS[(number * step) % 10] for step in range(1, 5 + number % 4)),
            metadata={"year": 2000 + number % 9, "tag": "abc"[number % 3]},
        )
        for number in range(count)
    ]


SEARCHES: tuple[Mapping[str, Any], ...] = (
    {"query": {"text": "lobster roll"}, "k": 20, "params": {"exact": True}},
    {"query": {"text": "river stone"}, "k": 5, "explain": {"max_terms": 4}, "highlight": True},
    {"query": {"text": "heart"}, "filter": {"year": {"gte": 2004}}, "total": True, "params": {"exact": True}},
    {
        "query": {"text": "light seven"},
        "facets": {"fields": ["tag", "year"], "over": "matches"},
        "params": {"exact": True},
    },
    {"query": {"text": "light"}, "sort": {"field": "year", "order": "desc"}, "k": 7},
    {"query": {"text": "vector"}, "prf": {"docs": 3}, "params": {"exact": True}},
    {"query": {"text": "vector"}, "must": ["sparse"], "k": 4, "params": {"exact": True}},
    {"query": {"like": {"ids": ["d0003"]}}, "k": 4, "params": {"exact": True}},
    {"query": {"sparse": {"lobster": 2.0, "unknown-word": 1.0}}, "params": {"exact": True}},
    {"query": {"text": "stone"}, "group_by": {"field": "tag"}, "params": {"exact": True}},
    {"query": {"text": ""}},
    {"query": {"text": "stone"}, "k": 0},
    {"query": {"text": "stone"}, "filter": {"nothing": 1}},
)
REFUSED = SEARCHES[-2:]


def assert_answers_alike(plain: httpx.Client, router: httpx.Client, name: str) -> None:
    """Ask both for everything; they may differ in times, sizes and names of cursors only."""
    base = f"/v1/collections/{name}"
    for body in SEARCHES:
        found, expected = (one.post(f"{base}/search", json=body) for one in (router, plain))
        assert expected.status_code == (422 if body in REFUSED else 200), expected.text
        assert (found.status_code, without_times(found.json())) == (
            expected.status_code,
            without_times(expected.json()),
        ), body
    good = list(SEARCHES[:3])
    batches = [one.post(f"{base}/search:batch", json={"searches": good}) for one in (router, plain)]
    assert without_times(batches[0].json()) == without_times(batches[1].json())
    for path in (
        f"{base}/documents/d0007",
        f"{base}/documents/nobody",
        f"{base}/documents?size=30&after=d0100",
        f"{base}/documents?size=3&vectors=true",
        "/v1/collections/unknown",
        "/v1/aliases",
        "/openapi.json",
    ):
        found, expected = (one.get(path) for one in (router, plain))
        assert (found.status_code, without_times(found.json())) == (
            expected.status_code,
            without_times(expected.json()),
        ), path


def without_times(value: Any) -> Any:
    """Return JSON values without what two services may differ in."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in _TIMES and key != "instance"}
    if isinstance(value, list):
        return [without_times(one) for one in value]
    return value
