"""One search, from the query as the user gave it to hits with documents.

    plan       which lists are fused, how, and whether a dense vector rescores them (the request, or the defaults)
    encode     each list's query; a model's dense query is computed meanwhile in a thread
    search     filters and `must` become one mask; each list finds its best documents; feedback; fusion
    rescore    the first candidates get a dense vector's similarity
    choose     boosts, least score, groups, near-duplicates; facets and total; the page
    fetch      documents, explanations, neighbouring passages

Stages pass rows (rows.py) with scores, and what each list contributed. All work on one generation, so an answer belongs
to one moment of the collection. Without a time limit every stage is waited for; with one, a late stage fails the
search, or is skipped with a warning if the request says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index import SearchParameters
from index.errors import SearchStopped
from lsr.documents import SparseInput
from lsr.errors import QueryError
from lsr.results import Damage, SearchResult, Total
from lsr.search import rescoring
from lsr.search.boosts import boosts_of
from lsr.search.clock import Clock
from lsr.search.facets import count_facets
from lsr.search.feedback import expanded
from lsr.search.filters import Filter
from lsr.search.fusion import Floats, List, contributions
from lsr.search.grouping import Kept, collapsed, grouped
from lsr.search.legs import EncodedLeg, complete, first_stage, union
from lsr.search.like import like_query, mean_direction, rows_of
from lsr.search.must import holding
from lsr.search.page import page
from lsr.search.plan import Plan, Searched, check_fields, limit_of, make_plan
from lsr.search.query_vectors import QueryVector, encode_query, input_term_ids, without_absent
from lsr.search.ranked import Answered, Ranked
from lsr.search.request import (
    MAX_LIMIT,
    ExternalScores,
    Leg,
    Like,
    Method,
    Query,
    RankingOptions,
)
from lsr.search.rows import Allowed, Rows, RowSpace, Scored, lowest_recall
from lsr.search.sorting import sorted_rows
from lsr.vectors import NamedVector, vector_of


def search(
    searched: Searched, query: Query, options: RankingOptions, parameters: SearchParameters, timeout_ms: float | None
) -> SearchResult:
    """Run one search and fetch its first hits, as `Collection.search` describes it.

    Raises QueryError, UnknownField, VectorError, SearchParameterError, SearchStopped, EncoderError.
    """
    answered = answer(searched, query, options, parameters, timeout_ms)
    return page(searched, answered, options, 0)


def answer(
    searched: Searched, query: Query, options: RankingOptions, parameters: SearchParameters, timeout_ms: float | None
) -> Answered:
    """Rank; see `search`."""
    clock = Clock(timeout_ms, options.on_late)
    plan = make_plan(searched, query, options)
    check_fields(searched, options)
    space = searched.rows()
    like_rows = rows_of(space, plan.like) if plan.like is not None else None
    dense = _begin_dense(searched, plan, like_rows, space)
    legs = [
        None if isinstance(one, ExternalScores) else _encode(searched, space, one, weight, limit_of(one, plan, options))
        for one, weight in zip(plan.lists, plan.weights, strict=True)
    ]
    clock.lap("encode")
    allowed, warnings = _allowed(searched, space, options, plan, like_rows, clock)
    if options.sort is not None:
        answered = _sorted(searched, space, plan, legs, allowed, options, clock, warnings)
    else:
        answered = _by_score(searched, space, plan, legs, allowed, options, parameters, clock, warnings, dense)
    answered.warnings[:0] = _damage_warnings(space.damage)
    answered.warnings.extend(plan.notes)
    if clock.skipped:
        answered.warnings.append(f"out of time: {', '.join(dict.fromkeys(clock.skipped))} was skipped")
    out_of_reach = any(damage.documents for damage in space.damage)
    answered.partial = bool(clock.skipped) or out_of_reach
    if out_of_reach:  # what cannot be read may match, too
        answered.total = Total(answered.total.value, "gte")
    answered.timings = clock.took
    return answered


# --- encode


def _encode(searched: Searched, space: RowSpace, one: Leg, weight: float, limit: int) -> EncodedLeg:
    vector = vector_of(searched.vectors, one.using)
    if isinstance(one.query, Like):
        near, away = rows_of(space, one.query)
        return EncodedLeg(vector, None, like_query(space, vector, near, away), frozenset(), weight, limit)
    encoded = _encoded(searched, vector, one.query)
    if searched.on_query is not None:
        searched.on_query(vector.name, encoded.term_ids, encoded.weights)
    if searched.generation.is_part and vector.vocabulary.grows:
        statistics = searched.generation.statistics(vector.name)
        encoded = without_absent(vector, encoded, statistics, is_text=isinstance(one.query, str))
    given = frozenset(input_term_ids(vector, one.query, encoded))
    return EncodedLeg(vector, one.query, encoded, given, weight, limit)


def _encoded(searched: Searched, vector: NamedVector, query: str | SparseInput) -> QueryVector:
    """Return the query's vector, from the cache where a model computed it before."""
    by_model = isinstance(query, str) and vector.config.encoder is not None and not vector.encoder.looks_queries_up
    known: QueryVector | None = None
    if by_model and searched.encodings is not None:
        known = searched.encodings.get((vector.name, query))
    if known is not None:
        return known
    encoded = encode_query(vector, query, searched.generation.statistics(vector.name))
    if by_model and searched.encodings is not None:
        searched.encodings.put((vector.name, query), encoded, 500 + 12 * len(encoded.term_ids) + 4 * len(str(query)))
    return encoded


def dense_query(searched: Searched, using: str, text: str) -> NDArray[np.float32]:
    """Return a text's dense vector, float32[dims], from the cache where it was computed before."""
    vector = searched.dense[using]
    if not text.strip():
        return np.zeros(vector.dims, dtype=np.float32)
    known = None if searched.encodings is None else searched.encodings.get((using, text))
    if known is None:
        known = vector.encode_query(text)
        if searched.encodings is not None:
            searched.encodings.put((using, text), known, 500 + known.nbytes + 4 * len(text))
    found: NDArray[np.float32] = known
    return found


@cache
def _background() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, thread_name_prefix="encode-dense")


def _begin_dense(
    searched: Searched, plan: Plan, like_rows: tuple[Rows, Rows] | None, space: RowSpace
) -> Future[NDArray[np.float32]] | NDArray[np.float32] | None:
    """Begin to make the dense query; None where nothing is rescored."""
    if plan.rescore is None:
        return None
    vector = searched.dense[plan.rescore.using]
    if like_rows is not None:
        near, away = (_dense_of(space, vector.name, rows) for rows in like_rows)
        return mean_direction(near, away)
    text, using = plan.text or "", vector.name
    if searched.encodings is not None and (known := searched.encodings.get((using, text))) is not None:
        vector_of_text: NDArray[np.float32] = known
        return vector_of_text
    return _background().submit(dense_query, searched, using, text)


def _dense_of(space: RowSpace, name: str, rows: Rows) -> list[NDArray[np.float32]]:
    found = [place.dense(name) for place in space.places(rows, dense=[name])]
    return [values.astype(np.float32) * np.float32(scale) for values, scale in found]


# --- search


def _allowed(
    searched: Searched,
    space: RowSpace,
    options: RankingOptions,
    plan: Plan,
    like_rows: tuple[Rows, Rows] | None,
    clock: Clock,
) -> tuple[Allowed, list[str]]:
    row_filter = None if options.filter is None else Filter(options.filter, searched.schema)
    allowed = space.chosen(row_filter)
    warnings: list[str] = []
    if like_rows is not None:
        allowed = allowed.without(space, np.concatenate(like_rows))
    if options.must is not None and options.must.words:
        using = next((one.using for one in plan.lists if isinstance(one, Leg)), None)
        allowed, warnings = holding(
            space, searched.vectors, options.must, using if plan.raw else None, allowed, clock.should_stop
        )
    return allowed, warnings


def _by_score(
    searched: Searched,
    space: RowSpace,
    plan: Plan,
    legs: list[EncodedLeg | None],
    allowed: Allowed,
    options: RankingOptions,
    parameters: SearchParameters,
    clock: Clock,
    warnings: list[str],
    dense: Future[NDArray[np.float32]] | NDArray[np.float32] | None,
) -> Answered:
    found = _first_stages(space, plan, legs, allowed, parameters, clock, warnings)
    feedback = options.prf
    if feedback is not None and feedback.when in ("before", "both") and not clock.late("feedback"):
        legs = [
            leg if leg is None else expanded(space, leg, one.rows, feedback)
            for leg, one in zip(legs, found, strict=True)
        ]
        found = _first_stages(space, plan, legs, allowed, parameters, clock, warnings)
    if plan.raw and not options.boosts and (feedback is None or feedback.when == "before"):
        ranked = _raw(found[0])
    else:
        ranked = _fused(space, plan, legs, found)
        if feedback is not None and feedback.when in ("after", "both") and not clock.late("feedback"):
            legs = [leg if leg is None else expanded(space, leg, ranked.rows, feedback) for leg in legs]
            found = _first_stages(space, plan, legs, allowed, parameters, clock, warnings)
            ranked = _fused(space, plan, legs, found)
    clock.lap("search")
    if plan.rescore is not None:
        ranked = _rescored(space, plan, ranked, dense, clock)
        clock.lap("rescore")
    ranked = _boosted(searched, space, ranked, options)
    if options.min_score is not None:
        ranked = ranked.take(np.flatnonzero(ranked.scores >= options.min_score))
    kept = _choose(searched, space, plan, legs, ranked, options)
    full = any(leg is not None and len(one.rows) >= leg.limit for leg, one in zip(legs, found, strict=True))
    facets, total = _counts(searched, space, legs, ranked, allowed, options, clock, full=full)
    clock.lap("search")
    approximate = any(one.approximate for one in found)
    recall = lowest_recall(one.expected_recall for one in found)
    return Answered(space, plan, legs, ranked, kept, facets, total, approximate, warnings, False, {}, recall)


def _first_stages(
    space: RowSpace,
    plan: Plan,
    legs: Sequence[EncodedLeg | None],
    allowed: Allowed,
    parameters: SearchParameters,
    clock: Clock,
    warnings: list[str],
) -> list[Scored]:
    found: list[Scored] = []
    nothing = Scored(np.empty(0, np.int64), np.empty(0, np.float32))
    wanted = [(leg.using, leg.query, leg.limit) for leg in legs if leg is not None and len(leg.query.term_ids)]
    space.prepare(wanted, parameters, allowed, clock.should_stop)
    for at, (one, leg) in enumerate(zip(plan.lists, legs, strict=True)):
        if isinstance(one, ExternalScores):
            found.append(_external(space, one, allowed, warnings))
            continue
        if leg is None or (at and clock.late(f"the list {one.using!r}")):
            found.append(nothing)
            continue
        try:
            found.append(first_stage(space, leg, parameters, allowed, clock.should_stop))
        except SearchStopped:
            if not at or not clock.late(f"the list {one.using!r}"):
                raise
            found.append(nothing)
    return found


def _external(space: RowSpace, one: ExternalScores, allowed: Allowed, warnings: list[str]) -> Scored:
    ids = list(one.scores)
    rows = space.find(ids)
    known = rows >= 0
    if not known.all():
        note = f"scores: {int((~known).sum())} of {len(ids)} ids are not in the collection"
        if note not in warnings:
            warnings.append(note)
    scores = np.fromiter(one.scores.values(), dtype=np.float64, count=len(ids))[known]
    rows = rows[known]
    inside = allowed.holds(space, rows)
    rows, scores = rows[inside], scores[inside]
    order = space.order(rows, scores, len(rows)) if len(rows) else np.empty(0, np.int64)
    return Scored(rows[order], scores[order])  # type: ignore[arg-type] # float64: these are not the index's scores


def _raw(found: Scored) -> Ranked:
    n = len(found.rows)
    scores = found.scores.astype(np.float64)
    one = scores.reshape(1, n)
    ranks = np.arange(1, n + 1, dtype=np.int64).reshape(1, n)
    return Ranked(found.rows, scores, one, one, ranks, np.zeros(n, dtype=np.bool_), np.zeros((0, n)))


def _fused(space: RowSpace, plan: Plan, legs: Sequence[EncodedLeg | None], found: Sequence[Scored]) -> Ranked:
    """Return the candidates of all lists, ranked by the sum of what the lists contribute."""
    rows = union(found)
    lists = [
        _external_list(one, rows) if leg is None else complete(space, leg, one, rows)
        for leg, one in zip(legs, found, strict=True)
    ]
    method: Method = "sum" if plan.raw else plan.method
    shares = contributions(lists, plan.weights, method, plan.k)
    scores = _rounded(shares.sum(axis=0))
    order = space.order(rows, scores, len(rows))
    raw = np.array([one.scores for one in lists]).reshape(len(lists), -1)
    ranks = np.array([one.ranks for one in lists], dtype=np.int64).reshape(len(lists), -1)
    n = len(rows)
    return Ranked(rows, scores, shares, raw, ranks, np.zeros(n, dtype=np.bool_), np.zeros((0, n))).take(order)


def _external_list(found: Scored, rows: Rows) -> List:
    scores, ranks = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    at = np.searchsorted(rows, found.rows)
    scores[at] = found.scores
    ranks[at] = np.arange(1, len(found.rows) + 1)
    return List(scores, ranks, least=min(0.0, float(scores.min(initial=0.0))))


def _rounded(scores: Floats) -> Floats:
    """A score is a float32, as the index's are; sums are made in float64 and rounded once."""
    return scores.astype(np.float32).astype(np.float64) + 0.0  # one zero


# --- rescore


def _rescored(
    space: RowSpace,
    plan: Plan,
    ranked: Ranked,
    dense: Future[NDArray[np.float32]] | NDArray[np.float32] | None,
    clock: Clock,
) -> Ranked:
    """Return the ranking with the first candidates reordered; the others stay below, in the order they were."""
    rescore = plan.rescore
    n = len(ranked.rows)
    nothing = np.zeros(n, dtype=np.bool_)
    blank = _with_list(ranked, np.zeros(n), np.zeros(n), np.zeros(n, np.int64), nothing)
    if rescore is None or dense is None or not n:
        return blank
    query = _wait(dense, clock)
    if query is None:
        return blank
    first = min(n, rescore.candidates)
    cosines, present = rescoring.similarities(space, rescore.using, ranked.rows[:first], query)
    shares, ranks = rescoring.rescored(cosines, present, rescore, plan.method, plan.k)
    if not query.any():
        present = np.zeros_like(present)
        shares = np.zeros_like(shares)
    full = np.zeros(n)
    raw, all_ranks, marked = full.copy(), np.zeros(n, dtype=np.int64), nothing.copy()
    full[:first], raw[:first], all_ranks[:first], marked[:first] = shares, cosines, ranks, present
    changed = _with_list(ranked, full, raw, all_ranks, marked)
    order = np.concatenate([space.order(changed.rows[:first], changed.scores[:first], first), np.arange(first, n)])
    return changed.take(order)


def _with_list(
    ranked: Ranked, shares: Floats, raw: Floats, ranks: NDArray[np.int64], rescored: NDArray[np.bool_]
) -> Ranked:
    every = np.vstack([ranked.shares, shares])
    return replace(
        ranked,
        scores=_rounded(every.sum(axis=0)) if rescored.any() else ranked.scores,
        shares=every,
        raw=np.vstack([ranked.raw, raw]),
        ranks=np.vstack([ranked.ranks, ranks]),
        rescored=rescored,
    )


def _wait(dense: Future[NDArray[np.float32]] | NDArray[np.float32], clock: Clock) -> NDArray[np.float32] | None:
    """Return the dense query; None when it is late and may be skipped."""
    if isinstance(dense, np.ndarray):
        return None if clock.late("rescoring") else dense
    while True:
        try:
            return dense.result(timeout=None if clock.should_stop is None else 0.005)
        except TimeoutError:
            if dense.done():
                raise  # the encoder's own
            if clock.late("rescoring"):
                dense.cancel()
                return None


# --- choose


def _boosted(searched: Searched, space: RowSpace, ranked: Ranked, options: RankingOptions) -> Ranked:
    if not options.boosts or not len(ranked.rows):
        return replace(ranked, boosted=np.zeros((len(options.boosts), len(ranked.rows))))
    added = np.array([one.added for one in boosts_of(space, ranked.rows, options.boosts, searched.schema)])
    scores = _rounded(ranked.shares.sum(axis=0) + added.sum(axis=0))
    changed = replace(ranked, scores=scores, boosted=added)
    # A boost reorders what was rescored among itself, and the rest among itself.
    last = int(np.flatnonzero(ranked.rescored)[-1]) + 1 if ranked.rescored.any() else 0
    n = len(ranked.rows)
    order = np.concatenate(
        [
            space.order(changed.rows[:last], scores[:last], last),
            space.order(changed.rows[last:], scores[last:], n - last) + last,
        ]
    )
    return changed.take(order)


def _choose(
    searched: Searched,
    space: RowSpace,
    plan: Plan,
    legs: Sequence[EncodedLeg | None],
    ranked: Ranked,
    options: RankingOptions,
) -> list[Kept]:
    """Return the hits there may be, best first: of all pages when there is a cursor, else of the first."""
    most = len(ranked.rows) if options.cursor else min(options.k, len(ranked.rows))
    if options.group_by is None and options.collapse is None:
        return [Kept(at) for at in range(most)]
    enough = len(ranked.rows) if options.collapse is not None else most
    if options.group_by is not None:
        kept = grouped(space, ranked.rows, options.group_by, enough)
    else:
        kept = [Kept(at) for at in range(enough)]
    if options.collapse is not None:
        using = options.collapse.using or (plan.rescore.using if plan.rescore else None)
        if using is None:
            using = next(leg.using for leg in legs if leg is not None)
        kept = collapsed(space, kept, ranked.rows, options.collapse, using, most, dense=using in searched.dense)
    return kept


def _counts(
    searched: Searched,
    space: RowSpace,
    legs: Sequence[EncodedLeg | None],
    ranked: Ranked,
    allowed: Allowed,
    options: RankingOptions,
    clock: Clock,
    *,
    full: bool,
) -> tuple[dict[str, Any], Total]:
    """Return the facets, and the number of matches: exact if asked for, or where the lists hold them all."""
    n = len(ranked.rows)
    # A list that is not full holds every match: the index fills up exactly before it returns less.
    total = Total(n, "gte" if full else "eq") if options.min_score is None else Total(n, "gte")
    facets: dict[str, Any] = {}
    over_matches = options.facets is not None and options.facets.over == "matches"
    matches: Allowed | None = None
    if (options.total or over_matches) and not clock.late("counting matches"):
        matches = _matches(space, legs, ranked, allowed, clock)
        total = Total(matches.count(space), "eq")
    if options.facets is not None and not clock.late("facets"):
        chosen = matches if over_matches and matches is not None else ranked.rows
        facets = count_facets(space, chosen, options.facets, searched.schema)
    return facets, total


def _matches(
    space: RowSpace, legs: Sequence[EncodedLeg | None], ranked: Ranked, allowed: Allowed, clock: Clock
) -> Allowed:
    """Return the mask of everything that a list could rank: what shares a term with a query, or has an own score."""
    found = space.only(np.empty(0, np.int64))
    for leg in legs:
        if leg is None:
            found |= space.only(ranked.rows)
        elif len(leg.query.term_ids):
            found |= space.matching(leg.using, leg.query, allowed, clock.should_stop)
    return found


def _sorted(
    searched: Searched,
    space: RowSpace,
    plan: Plan,
    legs: list[EncodedLeg | None],
    allowed: Allowed,
    options: RankingOptions,
    clock: Clock,
    warnings: list[str],
) -> Answered:
    """All matches in the order of a field; scores are shown, and decide nothing."""
    if options.sort is None:
        raise QueryError("sort is missing", field="sort")
    nothing = np.empty(0, np.int64)
    known = _raw(Scored(nothing, np.empty(0, np.float32)))
    matches = _matches(space, legs, known, allowed, clock)
    rows = sorted_rows(space, matches, options.sort, MAX_LIMIT if options.cursor else options.k)
    raw = np.array(
        [np.zeros(len(rows)) if leg is None else space.score(leg.using, leg.query, rows) for leg in legs],
        dtype=np.float64,
    ).reshape(len(legs), -1)
    shares = raw if plan.raw else np.zeros_like(raw)
    n = len(rows)
    ranked = Ranked(
        rows,
        _rounded(shares.sum(axis=0)),
        shares,
        raw,
        np.zeros((len(legs), n), dtype=np.int64),
        np.zeros(n, dtype=np.bool_),
        np.zeros((0, n)),
    )
    facets = count_facets(space, matches, options.facets, searched.schema) if options.facets is not None else {}
    clock.lap("search")
    kept = [Kept(at) for at in range(n)]
    total = Total(matches.count(space), "eq")
    return Answered(space, plan, legs, ranked, kept, facets, total, False, warnings, False, {})


def _damage_warnings(found: Sequence[Damage]) -> list[str]:
    return [
        f"{damage.what} ({damage.path.name}) puts {damage.documents} documents out of reach"
        for damage in found
        if damage.documents
    ]
