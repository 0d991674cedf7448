"""The order of a ranking, against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eval.ranking import Ranking, rank, top, without

SCORES = st.sampled_from([0.0, 0.5, 1.0, 1.0 + 1e-12, -3.0, 2.5])
RESULTS = st.dictionaries(st.text(min_size=1, max_size=4), SCORES, max_size=30)


@given(RESULTS, st.randoms(use_true_random=False))
def test_a_ranking_is_the_sorted_results_whatever_order_they_came_in(results, random):
    items = list(results.items())
    random.shuffle(items)
    ranking = rank("q", [doc for doc, _ in items], np.array([score for _, score in items]))
    assert list(zip(ranking.doc_ids, ranking.scores, strict=True)) == sorted(
        items, key=lambda item: (-item[1], item[0])
    )


@given(RESULTS)
def test_trec_evals_order_is_descending_float32_scores_then_descending_ids(results):
    ranking = rank("q", list(results), np.array(list(results.values())), ties="trec_eval")
    by_id = sorted(results, reverse=True)
    assert list(ranking.doc_ids) == sorted(by_id, key=lambda doc: -np.float32(results[doc]))


@given(RESULTS, st.text(min_size=1, max_size=4), st.integers(min_value=1, max_value=40))
def test_dropping_a_document_leaves_the_rest_in_order_and_cut_at_k(results, dropped, k):
    ranking = rank("q", list(results), np.array(list(results.values())))
    rest = top(without(ranking, dropped), k)
    assert isinstance(rest, Ranking)
    assert list(rest.doc_ids) == [doc for doc in ranking.doc_ids if doc != dropped][:k]
    assert len(rest.scores) == len(rest.doc_ids)
