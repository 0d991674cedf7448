"""A page of an answer: documents, explanations, neighbouring passages."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.results import (
    BoostScore,
    Group,
    GroupMember,
    Hit,
    LegScore,
    SearchResult,
    Timings,
)
from lsr.search.explanation import NOTHING, matched_terms, query_terms
from lsr.search.grouping import Kept
from lsr.search.passages import neighbours
from lsr.search.plan import Searched
from lsr.search.ranked import Answered, Ranked
from lsr.search.request import (
    RankingOptions,
)
from lsr.storage.generation import FoundDocument

EXTERNAL = "scores"  # what the explanation calls scores from elsewhere


def page(searched: Searched, answered: Answered, options: RankingOptions, start: int) -> SearchResult:
    """Fetch hits number start .. start + k of an answer."""
    began = time.perf_counter()
    shown = answered.kept[start : start + options.k]
    part = _Part.of(answered.ranked, np.array([one.at for one in shown], dtype=np.int64))
    explained = [leg.using for leg in answered.legs if leg is not None] if options.explain_terms else []
    places = answered.space.places(np.array(part.rows, dtype=np.int64), sparse=explained)
    documents = [place.document() for place in places]
    words = options.neighbours
    passages = [neighbours(searched.generation, document, words) if words else () for document in documents]
    fetched = time.perf_counter()
    plain = answered.plan.raw and not options.boosts
    hits = []
    for at, one in enumerate(shown):
        lists = _lists(answered, part, at, places[at], options.explain_terms)
        score = part.scores[at]
        hits.append(
            Hit(
                id=documents[at].id,
                rank=start + at + 1,
                score=score,
                document=documents[at],
                matched=lists[0].matched if plain else NOTHING,
                other_terms=lists[0].other_terms if plain else score,
                legs=lists,
                boosts=tuple(
                    BoostScore(boost.field, added)
                    for boost, added in zip(options.boosts, part.boosted[at], strict=True)
                ),
                rescored=part.rescored[at],
                group=None if options.group_by is None else _group(answered, one, options.group_by.field),
                duplicates=_duplicates(answered, one),
                passages=passages[at],
            )
        )
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
        expected_recall=answered.expected_recall,
    )


class _Part(NamedTuple):
    """Some documents of a ranking, number by number as Python has them: NumPy takes longer for each than for all."""

    rows: list[int]
    scores: list[float]
    shares: list[list[float]]
    raw: list[list[float]]
    ranks: list[list[int]]
    rescored: list[bool]
    boosted: list[list[float]]

    @classmethod
    def of(cls, ranked: Ranked, at: NDArray[np.int64]) -> _Part:
        """Return the documents at these positions."""
        part = ranked.take(at)
        return cls(
            part.rows.tolist(),
            part.scores.tolist(),
            part.shares.T.tolist(),
            part.raw.T.tolist(),
            part.ranks.T.tolist(),
            part.rescored.tolist(),
            part.boosted.T.tolist() if len(part.boosted) else [[]] * len(at),
        )


def _lists(answered: Answered, part: _Part, at: int, place: FoundDocument, explain_terms: int) -> tuple[LegScore, ...]:
    found = []
    for leg, raw, share, rank in zip(answered.legs, part.raw[at], part.shares[at], part.ranks[at], strict=False):
        if leg is None:
            found.append(LegScore(EXTERNAL, rank or None, raw, share))
            continue
        matched, other = matched_terms(leg, place, raw, explain_terms) if explain_terms else (NOTHING, raw)
        found.append(LegScore(leg.using, rank or None, raw, share, matched, other))
    if part.rescored[at] and answered.plan.rescore is not None:
        using = answered.plan.rescore.using
        found.append(LegScore(using, part.ranks[at][-1] or None, part.raw[at][-1], part.shares[at][-1]))
    return tuple(found)


def _group(answered: Answered, one: Kept, field: str) -> Group:
    members = np.array(one.members, dtype=np.int64)
    ids = answered.space.ids(answered.ranked.rows[members])
    hits = [
        GroupMember(identifier, score)
        for identifier, score in zip(ids, answered.ranked.scores[members].tolist(), strict=True)
    ]
    return Group(field, one.value, tuple(hits))


def _duplicates(answered: Answered, one: Kept) -> tuple[str, ...]:
    if not one.duplicates:
        return ()
    return tuple(answered.space.ids(answered.ranked.rows[np.array(one.duplicates, dtype=np.int64)]))


def _query_warnings(answered: Answered) -> list[str]:
    warnings = []
    legs = [leg for leg in answered.legs if leg is not None]
    for leg in legs:
        if leg.query.unknown:
            # Sorted: the order in the query vector would show a bound key which of them occur outside of its part.
            shown = ", ".join(repr(token) for token in sorted(leg.query.unknown)[:5])
            warnings.append(f"{len(leg.query.unknown)} query terms occur in no document: {shown}")
    if legs and not any(len(leg.query.term_ids) for leg in legs):
        text = answered.plan.text
        blank = text is not None and not text.strip()
        warnings.append("the query is empty" if blank else "no term of the query is known to the collection")
    return warnings
