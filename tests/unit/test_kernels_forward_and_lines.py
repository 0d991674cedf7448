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
from index.kernels.further import (
    HEADER,
    close_gaps,
    coarse_error,
    coarse_values,
    impact_code,
    largest_shift,
    most_places,
    remainder_type,
    write_further,
)
from index.kernels.impacts import impact_value
from index.kernels.lines import (
    NO_LINE,
    count_terms,
    heaviest_terms,
    pack_documents,
    read_documents,
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
    made, links = new_documents(np.diff(start), np.dtype(term_type), kept.dtype, code_of(kept), SCALE, ArraysInMemory())
    pack_documents(lines_of(rows), start, terms, values, kept, links, made)
    used = close_gaps(made.line_links, made.further, made.remainders)
    return made._replace(further=made.further[:used], remainders=made.remainders[:used])


def code_of(kept):
    """How these stored impacts are divided."""
    bits = kept.view(f"u{kept.itemsize}")
    return impact_code(int(bits.min()), int(bits.max())) if len(bits) else impact_code(0, 0)


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
            continue
        rest = [(term, np.dtype(impact_type).type(dict(row)[term])) for term, _ in expected[width:]]
        bits = [int(impact.view(f"u{impact.itemsize}")) for _, impact in rest]
        places = oracle.further_places([term for term, _ in rest], bits, *made.code.tolist())
        first = int(made.line_links[document, 15]) + HEADER
        used = slice(first, first + len(places))
        assert made.further[first - HEADER : first].tolist() == [len(places), 0]
        assert made.further[used].tolist() == [step | byte << 8 for step, byte, _ in places]
        assert made.remainders[used].tolist() == [remainder for _, _, remainder in places]


wide = st.dictionaries(st.integers(0, 199_999), impacts, min_size=1, max_size=60).map(lambda d: sorted(d.items()))


@settings(max_examples=30, deadline=None)
@given(wide, st.sampled_from(["float16", "float32"]))
def test_far_terms_are_read_as_they_were_written(row, impact_type):
    _, terms, _, kept = csr([row], impact_type)
    code = code_of(kept)
    needed = int(most_places(np.array([len(row)]), 200_000)[0])
    further, remainders = np.zeros(needed, np.uint16), np.zeros(needed, remainder_type(kept.dtype))
    write_further(0, np.arange(len(row)), terms, kept, further, remainders, *code)
    bits = kept.view(f"u{kept.itemsize}").tolist()
    places = oracle.further_places(terms.tolist(), bits, *code.tolist())
    count = int(further[0]) | int(further[1]) << 16
    written = further[HEADER : HEADER + count]
    assert [(int(w) & 255, int(w) >> 8) for w in written] == [place[:2] for place in places]
    made = packed([[]], np.uint32, impact_type)._replace(further=further, remainders=remainders, code=code)
    made.line_links[0, 15] = 0
    found = np.empty(len(row), np.uint32), np.empty(len(row), kept.dtype)
    read_documents(lines_of([row]), made, *found)
    assert found[0].tolist() == terms.tolist()
    assert found[1].tolist() == kept.tolist()


@pytest.mark.parametrize("impact_type", ["float16", "float32"])
def test_a_coarse_impact_is_near_the_canonical_one(impact_type):
    kept = stored(np.geomspace(0.01, 4, 5000).astype(np.float32), impact_type)
    code = code_of(kept)
    bits = kept.view(f"u{kept.itemsize}").astype(np.int64)
    assert 0 <= code[1] <= largest_shift(kept.dtype)
    coarse = coarse_values(code, kept.dtype)[1 + ((bits - code[0]) >> code[1])]
    exact = kept.view(np.float16).astype(np.float64) if impact_type == "float16" else kept
    assert np.abs(coarse / exact - 1).max() < 0.035


def test_the_widest_impacts_leave_a_remainder_that_fits():
    assert impact_code(1, 0x7BFF)[1] == largest_shift(np.dtype(np.uint16))
    assert impact_code(1, 0x7F7FFFFF)[1] == largest_shift(np.dtype(np.float32))


@settings(max_examples=60, deadline=None)
@given(
    documents.filter(len), queries.filter(len), st.integers(1, 3), st.sampled_from(["float16", "float32"]), st.data()
)
def test_what_may_be_best_holds_every_document_that_is(rows, query, k, impact_type, data):
    made = packed(rows, np.uint16, impact_type)
    lines = np.array(data.draw(st.permutations(range(len(rows)))), dtype=np.uint32)
    per_step, per_unit = np.zeros(1 << 16, np.uint16), np.zeros(1 << 16, np.float32)
    chosen, error = np.empty(len(rows), np.int64), coarse_error(made.code, made.impacts.dtype)
    n = may_be_best(lines, k, error, made, SCALE, *query_arrays(query), per_step, per_unit, chosen)
    scores = np.float32(oracle.canonical_scores(rounded(rows, impact_type), query))
    best = {document for document, _ in oracle.brute_force(scores, k)}
    ties = {document for document in range(len(rows)) if best and scores[document] >= min(scores[d] for d in best)}
    assert ties - {-1} <= set(lines[chosen[:n]].tolist())
    assert n == len(set(chosen[:n].tolist()))
    assert not per_step.any()
    assert not per_unit.any()


def test_documents_far_below_the_best_are_not_scored_canonically():
    rows = [[(0, 3.0 if document < 4 else 0.5), (1, 0.25)] for document in range(40)]
    made = packed(rows)
    per_step, per_unit, chosen = np.zeros(1 << 16, np.uint16), np.zeros(1 << 16, np.float32), np.empty(40, np.int64)
    query = query_arrays({0: 1.0, 1: 1.0})
    n = may_be_best(lines_of(rows), 2, 0.1, made, SCALE, *query, per_step, per_unit, chosen)
    assert chosen[:n].tolist() == [0, 1, 2, 3]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), max_size=200))
def test_allowed_documents_are_listed(values):
    allowed = np.array(values, dtype=np.bool_)
    ids = np.full(int(allowed.sum()), -1)
    assert list_allowed(allowed, ids) == len(ids)
    assert ids.tolist() == np.flatnonzero(allowed).tolist()
    assert list_allowed(allowed, ids[:1]) == min(1, len(ids))


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
