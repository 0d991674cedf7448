"""Collections, documents and search results as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response

from lsr.documents import Document
from lsr.results import CollectionInfo, Damage, Hit, LegScore, MatchedTerm, SearchResult, VectorInfo
from lsr.search.matched_words import MatchedWord
from service.messages.highlight import Highlight
from service.messages.search_requests import PARTS


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `value` as JSON."""
    return Response(to_json(value), status, headers, "application/json")


def to_json(value: Any) -> bytes:
    """Return `value` as JSON bytes; the standard encoder writes integers beyond 64 bits, which orjson refuses."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def render_collection(info: CollectionInfo, *, is_bound: bool = False) -> dict[str, Any]:
    """Return a collection's description; to the holder of a bound key, without the numbers of others' queries."""
    sample = None if is_bound else info.query_sample
    return {
        "name": info.name,
        "documents": info.documents,
        "segments": None if info.is_part else info.segments,
        "pending": info.pending,
        "deleted": None if info.is_part else info.deleted,
        "bytes": None if info.is_part else info.bytes,
        "stored": None if info.is_part else [one._asdict() for one in info.stored],
        "vectors": {
            name: _render_vector(vector) | ({"terms": None} if info.is_part and not vector.terms else {})
            for name, vector in info.vectors.items()
        },
        "schema": dict(info.schema),
        "seq": info.seq,
        "damage": render_damage(info.damage),
        "search": dict(info.search),
        "notes": list(info.notes),
        "read_only": info.read_only,
        "query_sample": None if sample is None else asdict(sample),
    }


def _render_vector(vector: VectorInfo) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "encoder": vector.encoder,
        "fingerprint": vector.fingerprint,
        "dense": vector.kind == "dense",
    }
    if vector.kind == "dense":
        return shown | {"dimensions": vector.dimensions}
    return shown | {"terms": vector.terms, "index": None if vector.index is None else vector.index.to_json()}


def render_damage(damage: Sequence[Damage]) -> list[dict[str, Any]]:
    """Return the damaged files, each with the number of documents that it makes unreachable."""
    return [{"file": str(one.path), "reason": one.reason, "documents": one.documents} for one in damage]


def render_document(document: Document) -> dict[str, Any]:
    """Return a whole document."""
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "parent": document.parent,
        "metadata": dict(document.metadata),
    }


class Shown(NamedTuple):
    """Which parts of a hit are shown: paths of the document, and how many terms (None: no explanation)."""

    include: Sequence[str] | None
    exclude: Sequence[str] | None
    max_terms: int | None

    def parts(self, document: Document) -> dict[str, Any]:
        """Return the shown parts of a document."""
        wanted = PARTS if self.include is None else self.include
        hidden = self.exclude or ()
        shown: dict[str, Any] = {}
        for name in ("title", "text", "parent"):
            if name in wanted and name not in hidden:
                shown[name] = getattr(document, name)
        fields = [path.removeprefix("metadata.") for path in wanted if path.startswith("metadata.")]
        if ("metadata" in wanted or fields) and "metadata" not in hidden:
            without = {path.removeprefix("metadata.") for path in hidden}
            shown["metadata"] = {
                key: value
                for key, value in document.metadata.items()
                if ("metadata" in wanted or key in fields) and key not in without
            }
        return shown


def render_search(
    result: SearchResult,
    *,
    took_ms: float,
    shown: Shown,
    highlights: list[list[Highlight]] | None = None,
    words: list[dict[str, list[MatchedWord]]] | None = None,
) -> dict[str, Any]:
    """Return a search result.

    `highlights` has a list per hit; `words` has the words of each list of each hit.
    """
    hits = []
    for at, hit in enumerate(result.hits):
        rendered = _render_hit(hit, shown, words[at] if words is not None else {})
        if highlights is not None:
            rendered["highlights"] = [one._asdict() for one in highlights[at]]
        if words is not None:
            plain = words[at].get(hit.legs[0].using, []) if hit.matched else []
            rendered["words"] = [_render_word(one) for one in plain]
        hits.append(rendered)
    timings = result.timings
    answer: dict[str, Any] = {
        "took_ms": round(took_ms, 3),
        "timings": {
            "encode": round(timings.encode, 3),
            "search": round(timings.search, 3),
            "rescore": round(timings.rescore, 3),
            "fetch": round(timings.fetch, 3),
            "explain": round(timings.explain, 3),
        },
        "query": {
            "terms": [
                {
                    "token": term.token,
                    "id": term.term_id,
                    "weight": term.weight,
                    "origin": term.origin,
                    "using": term.using,
                }
                for term in result.query_terms
            ]
        },
        "hits": hits,
        "total": {"value": result.total.value, "relation": result.total.relation},
        "facets": dict(result.facets),
        "next_cursor": result.next_cursor,
        "approximate": result.approximate,
        "expected_recall": None if result.expected_recall is None else round(result.expected_recall, 4),
        "partial": result.partial,
        "warnings": list(result.warnings),
    }
    if result.cached is not None:
        answer["cached"] = {"query": result.cached.query, "similarity": result.cached.similarity}
    return answer


def _render_word(word: MatchedWord) -> dict[str, Any]:
    tokens = [term.token for term in word.terms]
    return {"word": word.word, "contribution": word.contribution, "tokens": tokens}


def _render_hit(hit: Hit, shown: Shown, words: Mapping[str, list[MatchedWord]]) -> dict[str, Any]:
    rendered: dict[str, Any] = {"id": hit.id, "rank": hit.rank, "score": hit.score, **shown.parts(hit.document)}
    rendered["rescored"] = hit.rescored
    rendered["legs"] = [_render_leg(leg, shown.max_terms, words.get(leg.using)) for leg in hit.legs]
    if hit.boosts:
        rendered["boosts"] = [{"field": one.field, "contribution": one.contribution} for one in hit.boosts]
    if hit.group is not None:
        rendered["group"] = {
            "field": hit.group.field,
            "value": hit.group.value,
            "hits": [{"id": one.id, "score": one.score} for one in hit.group.hits],
        }
    if hit.duplicates:
        rendered["duplicates"] = list(hit.duplicates)
    if hit.passages:
        rendered["neighbours"] = [{"id": one.id, "position": one.position, "text": one.text} for one in hit.passages]
    if shown.max_terms is not None:
        rendered |= _render_terms(hit.matched, hit.other_terms, shown.max_terms)
    return rendered


def _render_leg(leg: LegScore, max_terms: int | None, words: list[MatchedWord] | None) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "using": leg.using,
        "rank": leg.rank,
        "score": leg.score,
        "contribution": leg.contribution,
    }
    if max_terms is not None:
        rendered |= _render_terms(leg.matched, leg.other_terms, max_terms)
    if words is not None:
        rendered["words"] = [_render_word(one) for one in words]
    return rendered


def _render_terms(matched: Sequence[MatchedTerm], other_terms: float, max_terms: int) -> dict[str, Any]:
    return {
        "matched": [
            {
                "token": term.token,
                "query_weight": term.query_weight,
                "doc_weight": term.doc_weight,
                "contribution": term.contribution,
            }
            for term in matched[:max_terms]
        ],
        "other_terms": other_terms + sum(term.contribution for term in matched[max_terms:]),
    }
