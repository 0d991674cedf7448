"""Collections, documents and search results as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection as Container
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

from lsr.documents import Document
from lsr.results import CollectionInfo, Damage, Hit, SearchResult
from lsr.search.matched_words import MatchedWord
from service.messages.highlight import Highlight


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `value` as JSON."""
    return Response(to_json(value), status, headers, "application/json")


def to_json(value: Any) -> bytes:
    """Return `value` as JSON bytes; the standard encoder writes integers beyond 64 bits, which orjson refuses."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def render_collection(info: CollectionInfo) -> dict[str, Any]:
    """Return a collection's description."""
    return {
        "name": info.name,
        "documents": info.documents,
        "segments": info.segments,
        "pending": info.pending,
        "deleted": info.deleted,
        "bytes": info.bytes,
        "vectors": {
            name: {"encoder": vector.encoder, "fingerprint": vector.fingerprint, "terms": vector.terms}
            for name, vector in info.vectors.items()
        },
        "schema": dict(info.schema),
        "seq": info.seq,
        "damage": render_damage(info.damage),
    }


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


def render_search(
    result: SearchResult,
    *,
    took_ms: float,
    include: Container[str],
    max_terms: int | None,
    highlights: list[list[Highlight]] | None,
    words: list[list[MatchedWord]] | None = None,
) -> dict[str, Any]:
    """Return a search result.

    Each hit shows at most `max_terms` matched terms (None: neither them nor `other_terms`). `highlights` and `words`
    have one list per hit.
    """
    hits = [_render_hit(hit, include, max_terms) for hit in result.hits]
    if highlights is not None:
        for shown, found in zip(hits, highlights, strict=True):
            shown["highlights"] = [one._asdict() for one in found]
    if words is not None:
        for shown, folded in zip(hits, words, strict=True):
            shown["words"] = [_render_word(one) for one in folded]
    return {
        "took_ms": round(took_ms, 3),
        "timings": {
            "encode": round(result.timings.encode, 3),
            "search": round(result.timings.search, 3),
            "fetch": round(result.timings.fetch, 3),
        },
        "query": {
            "terms": [
                {"token": term.token, "id": term.term_id, "weight": term.weight, "origin": term.origin}
                for term in result.query_terms
            ]
        },
        "hits": hits,
        "total": {"value": result.total.value, "relation": result.total.relation},
        "facets": {},
        "next_cursor": None,
        "approximate": result.approximate,
        "partial": result.partial,
        "warnings": list(result.warnings),
    }


def _render_word(word: MatchedWord) -> dict[str, Any]:
    tokens = [term.token for term in word.terms]
    return {"word": word.word, "contribution": word.contribution, "tokens": tokens}


def _render_hit(hit: Hit, include: Container[str], max_terms: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": hit.id, "rank": hit.rank, "score": hit.score}
    if "title" in include:
        shown["title"] = hit.document.title
    if "text" in include:
        shown["text"] = hit.document.text
    if "parent" in include:
        shown["parent"] = hit.document.parent
    if "metadata" in include:
        shown["metadata"] = dict(hit.document.metadata)
    if max_terms is not None:
        shown["matched"] = [
            {
                "token": term.token,
                "query_weight": term.query_weight,
                "doc_weight": term.doc_weight,
                "contribution": term.contribution,
            }
            for term in hit.matched[:max_terms]
        ]
        shown["other_terms"] = hit.other_terms + sum(term.contribution for term in hit.matched[max_terms:])
    return shown
