"""Rows that wait to be sealed: joined, read back and scored like the matrix that they come from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array, vstack

from index import PreparedRows, canonical, score_rows
from index.errors import VectorError

GENERATOR = np.random.default_rng(5)


def some_rows(count: int, width: int) -> csr_array:
    rows = csr_array(random_array((count, width), density=0.2, format="csr", dtype=np.float32, rng=GENERATOR))
    rows.sort_indices()
    return rows


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_joined_rows_score_as_the_marked_rows_of_one_matrix(dtype: str) -> None:
    parts = [some_rows(30, 40), some_rows(1, 90), some_rows(17, 60)]
    marks = [GENERATOR.random(part.shape[0]) < 0.6 for part in parts]
    marks[1][:] = True
    wide = [csr_array((part.data, part.indices, part.indptr), shape=(part.shape[0], 90)) for part in parts]
    expected = csr_array(vstack([part[mark] for part, mark in zip(wide, marks, strict=True)]))
    joined = PreparedRows.join([(PreparedRows.of(p, dtype), mark) for p, mark in zip(parts, marks, strict=True)])
    query = ([3, 50, 89, 500], [1.0, 2.0, 0.5, 1.0])
    for _ in range(2):  # the thread's table is clean again
        assert joined.score(*query).tolist() == score_rows(expected, *query, impact_dtype=dtype).tolist()
    assert joined.score([7], [1.0]).tolist() == score_rows(expected, [7], [1.0], impact_dtype=dtype).tolist()
    assert (len(joined), joined.nnz) == (expected.shape[0], expected.nnz)
    for at in range(len(joined)):
        term_ids, impacts = joined.row(at)
        row = expected[[at]]
        assert term_ids.tolist() == row.indices.tolist()
        assert impacts.tolist() == canonical(row.data, dtype).tolist()


def test_document_frequencies_count_all_rows_or_some() -> None:
    rows = some_rows(50, 30)
    prepared = PreparedRows.of(rows)
    terms = np.array([0, 7, 29, 30, 10_000])
    some = np.array([0, 3, 49])
    for chosen, held in ((None, rows), (some, rows[some])):
        frequencies = [int((held[:, [t]].toarray() > 0).sum()) if t < 30 else 0 for t in terms.tolist()]
        assert prepared.document_frequencies(terms, chosen).tolist() == frequencies
    assert PreparedRows.of(rows[:0]).document_frequencies(terms).tolist() == [0] * 5


def test_a_bad_row_is_refused() -> None:
    with pytest.raises(VectorError, match="negative"):
        PreparedRows.of(csr_array(np.array([[1.0, -1.0]], dtype=np.float32)))
