"""The terms' contributions to a document's score in a sparse list."""

from __future__ import annotations

from typing import Final

import numpy as np

from lsr.results import MatchedTerm, QueryTerm
from lsr.search.legs import EncodedLeg
from lsr.storage.generation import FoundDocument

NOTHING: Final[tuple[MatchedTerm, ...]] = ()


def matched_terms(
    leg: EncodedLeg, place: FoundDocument, score: float, limit: int
) -> tuple[tuple[MatchedTerm, ...], float]:
    """Return the `limit` terms that contribute most, and what the others contribute: together, `score`."""
    term_ids, impacts = place.vector(leg.using)
    query = leg.query
    # Both ascend, so a binary search finds each of the query's few terms; intersect1d would sort the two together.
    near = np.minimum(np.searchsorted(term_ids, query.term_ids), max(len(term_ids) - 1, 0))
    in_query = np.flatnonzero(term_ids[near] == query.term_ids) if len(term_ids) else near[:0]
    shared = query.term_ids[in_query]
    query_weights = query.weights[in_query].astype(np.float64)
    document_weights = impacts[near[in_query]].astype(np.float64)
    contributions = query_weights * document_weights
    best = np.argsort(-contributions, kind="stable")[:limit]
    tokens = leg.vector.vocabulary.tokens(shared[best])
    matched = tuple(
        MatchedTerm(token, float(query_weights[at]), float(document_weights[at]), float(contributions[at]))
        for token, at in zip(tokens, best, strict=True)
    )
    return matched, score - sum(term.contribution for term in matched)


def query_terms(leg: EncodedLeg) -> list[QueryTerm]:
    """Return the terms of a leg's query, the heaviest first."""
    tokens = leg.vector.vocabulary.tokens(leg.query.term_ids)
    terms = [
        QueryTerm(
            token,
            term_id,
            weight,
            "input" if term_id in leg.given else "prf" if term_id in leg.added else "expansion",
            leg.using,
        )
        for token, term_id, weight in zip(tokens, leg.query.term_ids.tolist(), leg.query.weights.tolist(), strict=True)
    ]
    return sorted(terms, key=lambda term: (-term.weight, term.term_id))
