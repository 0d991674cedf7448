"""The kernels over documents, against the oracles that define them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.kernels import oracle
from index.kernels.forward import impact_value, score_documents, score_range
from index.kernels.lines import LINE_BYTES, NO_LINE, pack_lines
from index.scoring import stored
from index.segment import line_views, terms_per_line

pytestmark = pytest.mark.kernels

N_TERMS = 60
NOTHING = np.zeros(0, dtype=np.bool_)

impacts = st.integers(1, 2000).map(lambda n: n / 512)
documents = st.lists(
    st.dictionaries(st.integers(0, N_TERMS - 1), impacts, max_size=45).map(lambda d: sorted(d.items())), max_size=6
)
queries = st.dictionaries(st.integers(0, N_TERMS - 1), st.floats(2**-10, 8, width=32), max_size=12)


def forward(rows, term_type=np.uint16, impact_type="float16"):
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=start[1:])
    terms = np.array([term for row in rows for term, _ in row], dtype=term_type)
    values = stored(np.array([impact for row in rows for _, impact in row], dtype=np.float32), impact_type)
    for array in (start, terms, values):
        array.setflags(write=False)
    return start, terms, values


def table_of(query):
    table = np.zeros(64, dtype=np.float32)
    for term, weight in query.items():
        table[term] = weight
    return table


@pytest.mark.parametrize("exponent", range(0, 31, 6))
def test_float16_bits_are_read_as_numpy_reads_them(exponent):
    bits = np.arange(exponent << 10, (exponent + 1) << 10, 37).astype(np.uint16)
    assert [impact_value(b) for b in bits] == bits.view(np.float16).astype(np.float32).tolist()


@settings(max_examples=30, deadline=None)
@given(documents, queries, st.sampled_from(["float16", "float32"]), st.sampled_from([np.uint16, np.uint32]))
def test_a_document_scores_its_canonical_dot_product(rows, query, impact_type, term_type):
    arrays = forward(rows, term_type, impact_type)
    scores = np.empty(len(rows), dtype=np.float32)
    score_documents(np.arange(len(rows)), *arrays, table_of(query), scores)
    held = [[(term, float(np.dtype(impact_type).type(impact))) for term, impact in row] for row in rows]
    assert scores.tolist() == oracle.canonical_scores(held, query)


@settings(max_examples=30, deadline=None)
@given(documents, queries, st.data())
def test_scoring_a_range_skips_what_is_not_allowed(rows, query, data):
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=np.bool_)
    start = data.draw(st.integers(0, len(rows)))
    scores = np.empty(len(rows) - start, dtype=np.float32)
    score_range(start, *forward(rows), table_of(query), allowed, scores)
    expected = oracle.canonical_scores(rows, query)
    if len(rows):
        expected = [score if ok else -1.0 for score, ok in zip(expected, allowed, strict=True)]
    assert scores.tolist() == expected[start:]


def unpacked(line_number, views, width):
    """Follow one document's chain of lines and return its (term, steps)."""
    terms, steps, links = views
    term_bytes = terms.dtype.itemsize
    found = []
    while line_number != NO_LINE:
        for place in range(width):
            if steps[line_number, width * term_bytes + place]:
                found.append((int(terms[line_number, place]), int(steps[line_number, width * term_bytes + place])))
        line_number = int(links[line_number, 15])
    return found


@settings(max_examples=30, deadline=None)
@given(documents, st.sampled_from([np.uint16, np.uint32]))
def test_lines_hold_each_document_by_falling_impact(rows, term_type):
    start, terms, _ = forward(rows)
    values = np.array([impact for row in rows for _, impact in row], dtype=np.float32)
    scale = np.full(N_TERMS, 4 / 255, dtype=np.float32)
    width = terms_per_line(np.dtype(term_type))
    n_lines = sum(max(1, -(-len(row) // width)) for row in rows)
    views = line_views(np.zeros((n_lines, LINE_BYTES), dtype=np.uint8), np.dtype(term_type))
    used = pack_lines(0, start, terms.astype(np.uint32), values, 1 / scale, len(rows), *views)
    assert used == n_lines
    for document, row in enumerate(rows):
        assert unpacked(document, views, width) == oracle.packed_lines(row, scale)
