"""Our measures against trec_eval (through pytrec_eval) on 1,000 random runs.

Negative grades mean not relevant to both. But trec_eval 9 indexes an array with the grade: below -1 it reads foreign
memory (pytrec_eval crashes now and then), and its uncut `ndcg` does so at -1 as well. The reference is therefore given
-1 for every grade below it, and 0 for each when uncut nDCG is asked for; ours gets the grades as they are.
"""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval

from eval.measures import parse_measure, score
from eval.ranking import Ranking, rank, top

CUTOFFS = (1, 3, 5, 10, 100)
TREC_NAMES = {
    **{f"nDCG@{k}": f"ndcg_cut_{k}" for k in CUTOFFS},
    **{f"Recall@{k}": f"recall_{k}" for k in CUTOFFS},
    **{f"P@{k}": f"P_{k}" for k in CUTOFFS},
    **{f"MAP@{k}": f"map_cut_{k}" for k in CUTOFFS},
    "nDCG": "ndcg",
    "MAP": "map",
    "MRR": "recip_rank",
}
MEASURES = tuple(parse_measure(name) for name in TREC_NAMES)


def random_collection(rng: np.random.Generator):
    """Return a run and qrels with ties, graded and negative judgements, unjudged documents, and empty queries."""
    documents = [f"d{i}" for i in rng.permutation(200)[: int(rng.integers(5, 120))]]
    qrels, run = {}, {}
    for number in range(int(rng.integers(1, 6))):
        query = f"q{number}"
        judged = rng.choice(documents, size=int(rng.integers(1, len(documents) + 1)), replace=False)
        qrels[query] = {
            str(doc): int(grade) for doc, grade in zip(judged, rng.integers(-2, 4, len(judged)), strict=True)
        }
        if rng.random() < 0.15:
            continue  # a query that the run does not have
        found = rng.choice(documents, size=int(rng.integers(1, len(documents) + 1)), replace=False)
        levels = int(rng.integers(1, 30))
        scores = np.round(rng.normal(size=levels), 3).astype(np.float32)[rng.integers(0, levels, len(found))]
        run[query] = {str(doc): float(value) for doc, value in zip(found, scores, strict=True)}
    return qrels, run


def ours(qrels, run, ties="trec_eval", cutoff=None, measures=MEASURES):
    rankings = []
    for query in qrels:
        documents = run.get(query, {})
        ranking = rank(query, list(documents), np.asarray(list(documents.values())), ties=ties)
        rankings.append(ranking if cutoff is None else top(ranking, cutoff))
    return score(rankings, list(qrels.values()), measures)


def reference(qrels, run, relevance_level=1):
    """What trec_eval says: {query: {measure: value}}, without the queries that the run does not have."""
    cut = {f"{name}.{','.join(map(str, CUTOFFS))}" for name in ("ndcg_cut", "recall", "P", "map_cut")}
    values = _evaluate(qrels, run, cut | {"map", "recip_rank"}, -1, relevance_level)
    uncut = _evaluate(qrels, run, {"ndcg"}, 0, relevance_level)
    return {query: {**values[query], **uncut[query]} for query in values}


def _evaluate(qrels, run, measures, lowest, relevance_level):
    raised = {q: {doc: max(grade, lowest) for doc, grade in grades.items()} for q, grades in qrels.items()}
    return pytrec_eval.RelevanceEvaluator(raised, measures, relevance_level=relevance_level).evaluate(run)


def test_measures_equal_trec_eval_on_1000_random_runs():
    rng = np.random.default_rng(20260601)
    qrels, run = {}, {}
    for number in range(1000):  # evaluated in one call, each run's queries under different names
        some_qrels, some_run = random_collection(rng)
        qrels |= {f"{number}-{query}": grades for query, grades in some_qrels.items()}
        run |= {f"{number}-{query}": documents for query, documents in some_run.items()}
    expected = reference(qrels, run)
    found = ours(qrels, run)
    assert len(run) < len(qrels) > 2_500
    for measure, trec_name in zip(MEASURES, TREC_NAMES.values(), strict=True):
        # trec_eval ignores queries without results; its option -c counts them as 0.
        theirs = [expected.get(query, {}).get(trec_name, 0.0) for query in qrels]
        np.testing.assert_allclose(found[measure], theirs, rtol=0, atol=1e-9, err_msg=str(measure))


def test_reciprocal_rank_with_a_cutoff_equals_trec_eval_on_the_cut_run():
    rng = np.random.default_rng(7)
    measure = parse_measure("MRR@10")
    for _ in range(100):
        qrels, run = random_collection(rng)
        cut = {
            query: {
                doc: run[query][doc]
                for doc in rank(
                    query, list(run[query]), np.asarray(list(run[query].values())), ties="trec_eval"
                ).doc_ids[:10]
            }
            for query in run
        }
        expected = reference(qrels, cut)
        found = ours(qrels, run, measures=(measure,))[measure]
        assert found == pytest.approx([expected.get(query, {}).get("recip_rank", 0.0) for query in qrels], abs=1e-9)


@pytest.mark.parametrize("level", [2, 3])
def test_a_relevance_threshold_equals_trec_evals_option_l(level):
    rng = np.random.default_rng(level)
    names = {
        f"MAP(rel={level})": "map",
        f"Recall(rel={level})@10": "recall_10",
        f"P(rel={level})@5": "P_5",
        f"MRR(rel={level})": "recip_rank",
    }
    measures = tuple(parse_measure(name) for name in names)
    for _ in range(50):
        qrels, run = random_collection(rng)
        expected = reference(qrels, run, relevance_level=level)
        found = ours(qrels, run, measures=measures)
        for measure, trec_name in zip(measures, names.values(), strict=True):
            references = [expected.get(query, {}).get(trec_name, 0.0) for query in qrels]
            assert found[measure] == pytest.approx(references, abs=1e-9)


def test_judged_and_means_equal_ir_measures():
    import ir_measures

    rng = np.random.default_rng(3)
    names = ("Judged@10", "nDCG@10", "MRR@10", "Recall@100", "MAP", "P@5")
    theirs = [ir_measures.parse_measure(n) for n in ("Judged@10", "nDCG@10", "RR@10", "R@100", "AP", "P@5")]
    measures = tuple(parse_measure(name) for name in names)
    for _ in range(50):
        qrels, run = random_collection(rng)
        # ir_measures' own Judged keeps ties in input order: make the scores distinct here.
        run = {q: {d: 1.0 / (i + 1) for i, d in enumerate(docs)} for q, docs in run.items()}
        raised = {q: {doc: max(grade, 0) for doc, grade in grades.items()} for q, grades in qrels.items()}
        expected = ir_measures.calc_aggregate(theirs, raised, run)
        found = ours(qrels, run, measures=measures)
        for measure, their in zip(measures, theirs, strict=True):
            assert found[measure].mean() == pytest.approx(expected[their], abs=1e-9), str(measure)


def test_the_default_order_of_ties_is_the_opposite_of_trec_evals():
    qrels = {"q": {"a": 1}}
    run = {"q": {"a": 1.0, "b": 1.0}}
    measure = parse_measure("MRR@10")
    assert ours(qrels, run, ties="id", measures=(measure,))[measure][0] == 1.0
    assert ours(qrels, run, ties="trec_eval", measures=(measure,))[measure][0] == 0.5


def test_scores_that_differ_only_beyond_float32_are_ties_to_trec_eval():
    qrels = {"q": {"a": 1}}
    run = {"q": {"a": 1.0 + 1e-12, "b": 1.0}}
    measure = parse_measure("MRR@10")
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(run)["q"]["recip_rank"]
    assert ours(qrels, run, ties="trec_eval", measures=(measure,))[measure][0] == expected


def test_a_query_without_results_counts_as_zero():
    values = score([Ranking("q", [], np.empty(0))], [{"a": 1}], MEASURES)
    assert all(value[0] == 0 for value in values.values())
