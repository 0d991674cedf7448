"""The kernels over documents, against the oracles that define them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.arrays.new_arrays import ArraysInMemory, new_documents
from index.canonical_weights import stored
from index.kernels import oracle
from index.kernels.few import list_allowed, may_be_best
from index.kernels.forward import scan_documents, score_document, score_documents, score_rows
from index.kernels.lines import (
    FREE,
    GROUP,
    LEVELLED,
    NO_LINE,
    count_terms,
    heaviest_terms,
    impact_value,
    level_at,
    pack_documents,
    read_documents,
    steps_of,
    terms_per_line,
)

pytestmark = pytest.mark.kernels

N_TERMS = 60
SCALE = np.full(N_TERMS, 4 / 255, dtype=np.float32)
NOTHING = np.zeros(0, dtype=np.bool_)

impacts = st.integers(1, 2000).map(lambda n: n / 512)
documents = st.lists(
    st.dictionaries(st.integers(0, N_TERMS - 1), impacts, max_size=45).map(lambda d: sorted(d.items())), max_size=6
)
rows_with_many_terms = st.dictionaries(st.integers(0, N_TERMS - 1), impacts, min_size=21, max_size=N_TERMS).map(
    lambda d: sorted(d.items())
)
queries = st.dictionaries(st.integers(0, N_TERMS - 1), st.floats(2**-10, 8, width=32), max_size=12)


def csr(rows, impact_type="float16"):
    """Rows of (term, impact) as (starts, terms, impacts as float32, impacts as stored)."""
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=start[1:])
    terms = np.array([term for row in rows for term, _ in row], dtype=np.uint32)
    values = np.array([impact for row in rows for _, impact in row], dtype=np.float32)
    kept = stored(values, impact_type)
    return start, terms, (kept.view(np.float16).astype(np.float32) if impact_type == "float16" else kept), kept


def packed(rows, term_type=np.uint16, impact_type="float16"):
    """Pack rows, in their order."""
    start, terms, values, kept = csr(rows, impact_type)
    made, links = new_documents(np.diff(start), np.dtype(term_type), kept.dtype, SCALE, ArraysInMemory())
    pack_documents(lines_of(rows), start, terms, values, kept, links, made)
    return made


def lines_of(rows):
    return np.arange(len(rows), dtype=np.uint32)


def query_arrays(query):
    """A query as (terms, weights), by ascending term."""
    return np.array(sorted(query), dtype=np.uint32), np.float32([query[term] for term in sorted(query)])


def rounded(rows, impact_type):
    return [[(term, float(np.dtype(impact_type).type(impact))) for term, impact in row] for row in rows]


@pytest.mark.parametrize("exponent", range(31))
def test_float16_bits_are_read_as_numpy_reads_them(exponent):
    bits = np.arange(exponent << 10, (exponent + 1) << 10, 37).astype(np.uint16)
    assert [impact_value(b) for b in bits] == bits.view(np.float16).astype(np.float32).tolist()


@settings(max_examples=30, deadline=None)
@given(documents, queries, st.sampled_from(["float16", "float32"]))
def test_a_row_scores_its_canonical_dot_product(rows, query, impact_type):
    start, terms, _, kept = csr(rows, impact_type)
    table = np.zeros(64, dtype=np.float32)
    table[list(query)] = list(query.values())
    scores = np.empty(len(rows), dtype=np.float32)
    score_rows(start, terms, kept, table, scores)
    assert scores.tolist() == oracle.canonical_scores(rounded(rows, impact_type), query)


@settings(max_examples=30, deadline=None)
@given(documents, queries, st.sampled_from(["float16", "float32"]), st.sampled_from([np.uint16, np.uint32]))
def test_a_packed_document_scores_its_canonical_dot_product(rows, query, impact_type, term_type):
    made = packed(rows, term_type, impact_type)
    places, scores = np.zeros(64, dtype=np.int32), np.empty(len(rows), dtype=np.float32)
    score_documents(lines_of(rows), made, *query_arrays(query), places, scores)
    assert scores.tolist() == oracle.canonical_scores(rounded(rows, impact_type), query)
    assert not places.any()


def test_products_are_added_by_the_querys_order_and_not_the_documents():
    # In float64: (2**53 + 1) + 1 is 2**53, 2**53 + (1 + 1) is not.
    row = [(0, 1.0), (1, 2.0**8), (2, 1.0)]
    weights = np.float32([2.0**-45, 1.0, 2.0**-45])
    made = packed([row])
    scores = {}
    for order in ((0, 1, 2), (0, 2, 1)):
        products, places = np.zeros(3), np.zeros(64, dtype=np.int32)
        places[list(order)] = 1, 2, 3
        chosen = weights[list(order)]
        scores[order] = score_document(0, made, places, chosen, products)
    assert scores[0, 1, 2] == (2.0**-45 + 2.0**8) + 2.0**-45
    assert scores[0, 2, 1] == (2.0**-45 + 2.0**-45) + 2.0**8
    assert scores[0, 1, 2] != scores[0, 2, 1]


@settings(max_examples=60, deadline=None)
@given(documents, queries, st.data())
def test_scanning_skips_only_what_is_not_allowed_or_scores_below_the_threshold(rows, query, data):
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=np.bool_)
    start = data.draw(st.integers(0, len(rows)))
    term_type, impact_type = data.draw(st.sampled_from([np.uint16, np.uint32])), "float16"
    expected = np.float32(oracle.canonical_scores(rounded(rows, impact_type), query))
    threshold = np.float32(data.draw(st.sampled_from([0.0, *expected[expected > 0].tolist()])))
    made = packed(rows, term_type, impact_type)
    scores = np.empty(len(rows) - start, dtype=np.float32)
    line_docs = np.array(data.draw(st.permutations(range(len(rows)))), dtype=np.uint32)
    places, bounds = np.zeros(64, dtype=np.int32), np.zeros(64, dtype=np.float32)
    scan_documents(start, threshold, made, SCALE, *query_arrays(query), places, bounds, allowed, line_docs, scores)
    if len(rows):
        expected = np.where(allowed[line_docs], expected, np.float32(-1))
    needed = expected[start:] >= threshold if threshold > 0 else np.ones(len(scores), dtype=np.bool_)
    assert scores[needed].tolist() == expected[start:][needed].tolist()
    assert (scores[~needed] < threshold).all()
    assert not places.any()
    assert not bounds.any()


def test_scanning_drops_documents_by_their_sketch():
    # Terms 20 and above are not in the sketches; the query holds one that is and one that is not.
    strong, weak = [(t, 3.0) for t in range(20)], [(t, 0.5) for t in range(20)]
    made = packed([[*row, (30, 0.25)] for row in (strong, weak)])
    scores = np.empty(2, dtype=np.float32)
    places, bounds = np.zeros(64, dtype=np.int32), np.zeros(64, dtype=np.float32)
    query = query_arrays({0: 1.0, 30: 1.0})
    scan_documents(0, np.float32(3), made, SCALE, *query, places, bounds, NOTHING, lines_of("ab"), scores)
    assert scores.tolist() == [3.25, -1.0]


@settings(max_examples=30, deadline=None)
@given(documents, st.sampled_from([np.uint16, np.uint32]), st.sampled_from(["float16", "float32"]))
def test_documents_are_packed_by_descending_impact(rows, term_type, impact_type):
    made = packed(rows, term_type, impact_type)
    width, term_bytes = terms_per_line(np.dtype(term_type)), np.dtype(term_type).itemsize
    for document, row in enumerate(rounded(rows, impact_type)):
        expected = oracle.packed_document(row, SCALE)
        steps = made.line_bytes[document, width * term_bytes :].tolist()
        in_line = list(zip(made.line_terms[document].tolist(), steps, strict=False))[: min(width, len(row))]
        assert in_line == expected[:width]
        if len(row) <= width:
            assert made.line_links[document, 15] == NO_LINE
        else:
            with_levels = made.further_impacts.shape[1] == LEVELLED
            per_line = LEVELLED if with_levels else 64 // (term_bytes + made.impacts.dtype.itemsize)
            first = int(made.line_links[document, 15])
            used = slice(first, first + -(-(1 + len(row) - width) // per_line))
            terms = made.further_terms[used, :per_line].flatten().astype(int).tolist()
            stored = made.further_impacts[used, -per_line:].flatten()
            values = stored.view(np.float16) if impact_type == "float16" else stored
            further = list(zip(terms, values.tolist(), strict=True))
            n_further = len(row) - width
            assert further[0] == (FREE - n_further if with_levels else n_further, 0)
            held = [(term, steps_of(value, 1 / SCALE[term])) for term, value in further[1 : 1 + len(row) - width]]
            assert held == expected[width:]
            if with_levels:
                assert set(terms[1 + n_further :]) <= {FREE}
                said = [level_at(first + at // LEVELLED, at % LEVELLED // GROUP, made.further_terms)
                        for at in range(1, 1 + n_further)]  # fmt: skip
                assert [value * 2.0**112 for value in said] == oracle.levels(
                    [value for _, value in further[1 : 1 + n_further]]
                )


@settings(max_examples=30, deadline=None)
@given(documents)
def test_documents_are_ordered_by_their_three_heaviest_terms(rows):
    start, terms, values, _ = csr(rows, "float16")
    keys = np.empty(len(rows), dtype=np.int64)
    heaviest_terms(start, terms, values, keys)
    assert keys.tolist() == [oracle.heaviest_terms(row) for row in rounded(rows, "float16")]


@settings(max_examples=30, deadline=None)
@given(documents, st.sampled_from(["float16", "float32"]), st.sampled_from([np.uint16, np.uint32]))
def test_packed_documents_return_the_terms_and_the_canonical_impacts(rows, impact_type, term_type):
    made = packed(rows, term_type, impact_type)
    counts = np.empty(len(rows), dtype=np.int64)
    count_terms(lines_of(rows), made, counts)
    assert counts.tolist() == [len(row) for row in rows]
    terms, kept = np.empty(counts.sum(), dtype=term_type), np.empty(counts.sum(), dtype=made.impacts.dtype)
    read_documents(lines_of(rows), made, terms, kept)
    values = kept.view(np.float16) if impact_type == "float16" else kept
    found = iter(zip(terms.tolist(), values.tolist(), strict=True))
    assert [sorted(next(found) for _ in row) for row in rows] == rounded(rows, impact_type)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows_with_many_terms, min_size=1, max_size=12), queries, st.integers(1, 6))
def test_documents_that_may_be_best_hold_all_of_the_best(rows, query, k):
    made = packed(rows)
    assert made.further_impacts.shape[1] == LEVELLED
    terms, weights = query_arrays(query)
    tables = [np.zeros(2**16, dtype=np.float32) for _ in range(2)]
    chosen = np.empty(len(rows), dtype=np.uint32)
    n = may_be_best(lines_of(rows), k, made, SCALE, terms, weights, *tables, np.empty(len(rows)), chosen)
    assert not any(table.any() for table in tables)
    scores = oracle.canonical_scores(rounded(rows, "float16"), {int(t): w for t, w in zip(terms, weights, strict=True)})
    kept = chosen[:n].tolist()
    assert kept == sorted(set(kept))
    best = sorted((score for score in scores if score >= 0), reverse=True)[:k]
    assert {row for row, score in enumerate(scores) if score > 0 and score >= best[-1]} <= set(kept)


def test_bounds_leave_out_a_document_that_cannot_be_among_the_best():
    # Both hold the query's term 50 in a further line: the heavy one with an impact that no level of the light one has.
    heavy, light = [(t, 3.0) for t in range(20)], [(t, 3.0) for t in range(20)]
    made = packed([[*heavy, (50, 2.0), (51, 1.75), (52, 1.75), (53, 1.75), (54, 1.75), (55, 1.75)],
                   [*light, (40, 0.5), (41, 0.5), (42, 0.5), (50, 0.25)]])  # fmt: skip
    chosen, terms = np.empty(2, dtype=np.uint32), np.array([50], dtype=np.uint32)
    tables = [np.zeros(2**16, dtype=np.float32) for _ in range(2)]
    n = may_be_best(lines_of("ab"), 1, made, SCALE, terms, np.float32([1]), *tables, np.empty(2), chosen)
    assert chosen[:n].tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([False, False, False, True]), max_size=70), st.integers(0, 20))
def test_allowed_documents_are_listed_if_they_are_few(mask, most):
    allowed, found = np.array(mask, dtype=np.bool_), np.empty(most, dtype=np.int64)
    n = list_allowed(allowed[: len(mask) // 8 * 8].view(np.uint64), allowed, found)
    expected = np.flatnonzero(allowed).tolist()
    assert (found[:n].tolist() if n >= 0 else None) == (expected if len(expected) <= most else None)
