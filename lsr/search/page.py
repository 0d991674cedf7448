"""A page of an answer: documents, explanations, neighbouring passages."""

from __future__ import annotations

import time

import numpy as np

from lsr.documents import Document
from lsr.results import (
    BoostScore,
    Group,
    GroupMember,
    Hit,
    LegScore,
    Passage,
    SearchResult,
    Timings,
)
from lsr.search.explanation import NOTHING, matched_terms, query_terms
from lsr.search.grouping import Kept
from lsr.search.passages import neighbours
from lsr.search.plan import Searched
from lsr.search.ranked import Answered
from lsr.search.request import (
    RankingOptions,
)
from lsr.storage.generation import Place

EXTERNAL = "scores"  # what the explanation calls scores from elsewhere


def page(searched: Searched, answered: Answered, options: RankingOptions, start: int) -> SearchResult:
    """Fetch hits number start .. start + k of an answer."""
    began = time.perf_counter()
    shown = answered.kept[start : start + options.k]
    places = [answered.space.place(int(answered.ranked.rows[one.at])) for one in shown]
    documents = [place.document() for place in places]
    words = options.neighbours
    passages = [neighbours(searched.generation, document, words) if words else () for document in documents]
    fetched = time.perf_counter()
    hits = [
        _hit(answered, one, start + number, options, place, document, around)
        for number, (one, place, document, around) in enumerate(
            zip(shown, places, documents, passages, strict=True), start=1
        )
    ]
    terms = [term for leg in answered.legs if leg is not None for term in query_terms(leg)]
    took = answered.timings
    return SearchResult(
        hits=tuple(hits),
        query_terms=tuple(terms),
        timings=Timings(
            encode=took.get("encode", 0.0),
            search=took.get("search", 0.0),
            fetch=(fetched - began) * 1e3,
            rescore=took.get("rescore", 0.0),
            explain=(time.perf_counter() - fetched) * 1e3,
        ),
        total=answered.total,
        approximate=answered.approximate,
        warnings=(*answered.warnings, *_query_warnings(answered)),
        partial=answered.partial,
        facets=answered.facets,
    )


def _hit(
    answered: Answered,
    one: Kept,
    rank: int,
    options: RankingOptions,
    place: Place,
    document: Document,
    passages: tuple[Passage, ...],
) -> Hit:
    ranked, at = answered.ranked, one.at
    score = float(ranked.scores[at])
    shares = []
    for number, leg in enumerate(answered.legs):
        raw = float(ranked.raw[number, at])
        matched, other = NOTHING, raw
        if options.explain_terms and leg is not None:
            matched, other = matched_terms(leg, place, raw, options.explain_terms)
        shares.append(
            LegScore(
                EXTERNAL if leg is None else leg.using,
                int(ranked.ranks[number, at]) or None,
                raw,
                float(ranked.shares[number, at]),
                matched,
                other if leg is not None else 0.0,
            )
        )
    if answered.plan.rescore is not None and ranked.rescored[at]:
        last = len(answered.legs)
        shares.append(
            LegScore(
                answered.plan.rescore.using,
                int(ranked.ranks[last, at]) or None,
                float(ranked.raw[last, at]),
                float(ranked.shares[last, at]),
            )
        )
    plain = answered.plan.raw and not options.boosts
    return Hit(
        id=document.id,
        rank=rank,
        score=score,
        document=document,
        matched=shares[0].matched if plain else (),
        other_terms=shares[0].other_terms if plain else score,
        legs=tuple(shares),
        boosts=tuple(
            BoostScore(boost.field, float(ranked.boosted[number, at])) for number, boost in enumerate(options.boosts)
        ),
        rescored=bool(ranked.rescored[at]),
        group=_group(answered, one, options),
        duplicates=tuple(answered.space.ids(ranked.rows[np.array(one.duplicates, dtype=np.int64)])),
        passages=passages,
    )


def _group(answered: Answered, one: Kept, options: RankingOptions) -> Group | None:
    if options.group_by is None:
        return None
    members = np.array(one.members, dtype=np.int64)
    ids = answered.space.ids(answered.ranked.rows[members])
    hits = [
        GroupMember(identifier, float(score))
        for identifier, score in zip(ids, answered.ranked.scores[members].tolist(), strict=True)
    ]
    return Group(options.group_by.field, one.value, tuple(hits))


def _query_warnings(answered: Answered) -> list[str]:
    warnings = []
    legs = [leg for leg in answered.legs if leg is not None]
    for leg in legs:
        if leg.query.unknown:
            shown = ", ".join(repr(token) for token in leg.query.unknown[:5])
            warnings.append(f"{len(leg.query.unknown)} query terms occur in no document: {shown}")
    if legs and not any(len(leg.query.term_ids) for leg in legs):
        text = answered.plan.text
        blank = text is not None and not text.strip()
        warnings.append("the query is empty" if blank else "no term of the query is known to the collection")
    return warnings
