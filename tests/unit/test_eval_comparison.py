"""Significance, wins and losses, runs side by side, per-term diagnosis."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from eval.comparison.diagnosis import diagnose, diagnose_query
from eval.comparison.runs import compare_runs, side_by_side, side_by_side_table
from eval.comparison.significance import holm, mean_interval, paired_difference
from eval.dataset import from_trec_files
from eval.errors import EvaluationError, InputFileError
from eval.ranking import Ranking
from eval.sources.queries import Query
from lsr.collection import Collection
from lsr.documents import Document


def test_the_randomisation_test_is_exact_for_few_queries():
    # All 2**4 sign patterns: only the observed one and its mirror are as extreme.
    difference = paired_difference(np.array([0.1, 0.2, 0.3, 0.9]), np.array([0.0, 0.1, 0.1, 0.2]))
    assert difference.p_randomisation == pytest.approx(2 / 16)


def test_the_t_test_is_the_one_of_the_textbook():
    rng = np.random.default_rng(1)
    a, b = rng.random(50), rng.random(50)
    d = a - b
    t = d.mean() / (d.std(ddof=1) / np.sqrt(50))
    assert paired_difference(a, b).p_t == pytest.approx(2 * stats.t.sf(abs(t), 49))


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        values = rng.normal(0.3, 0.2, 40)
        low, high = mean_interval(values, resamples=500)
        covered += low <= 0.3 <= high
    assert 50 <= covered <= 60


@pytest.mark.parametrize("values", [np.zeros(0), np.array([0.5]), np.full(20, 0.25)])
def test_nothing_to_test_gives_p_one(values):
    difference = paired_difference(values, values.copy())
    assert (difference.mean, difference.p_t, difference.p_randomisation) == (0.0, 1.0, 1.0)


def test_values_of_different_queries_are_refused():
    with pytest.raises(ValueError, match="the same length"):
        paired_difference(np.zeros(3), np.zeros(4))


def test_the_same_comparison_gives_the_same_p_values():
    rng = np.random.default_rng(3)
    a, b = rng.random(300), rng.random(300)
    assert paired_difference(a, b, resamples=500) == paired_difference(a, b, resamples=500)


def test_holm_corrects_as_in_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.fixture
def runs(tmp_path):
    topics, qrels = tmp_path / "topics.tsv", tmp_path / "qrels.txt"
    topics.write_text("".join(f"q{i}\tquery {i}\n" for i in range(6)))
    qrels.write_text("".join(f"q{i} 0 good 1\n" for i in range(6)))
    first, second = tmp_path / "first.run", tmp_path / "second.run"
    orders = {first: ["good bad"] * 3 + ["bad good"] * 3, second: ["good bad"] * 5 + ["bad other"]}
    for path, documents in orders.items():
        lines = [
            f"q{i} Q0 {doc} {rank} {1 / rank} {path.stem}\n"
            for i, text in enumerate(documents)
            for rank, doc in enumerate(text.split(), start=1)
        ]
        path.write_text("".join(lines))
    return from_trec_files(topics, qrels), first, second


def test_wins_losses_and_the_queries_that_moved_most_are_listed(runs):
    dataset, first, second = runs
    comparison = compare_runs(dataset, first, second, measures=["MRR@10"])
    one = comparison.measures[0]
    assert (comparison.first, comparison.second) == ("first", "second")
    assert (one.wins, one.losses, one.ties) == (2, 1, 3)
    assert [(moved.query_id, moved.change) for moved in one.moved] == [("q3", 0.5), ("q4", 0.5), ("q5", -0.5)]
    assert one.difference.mean == pytest.approx(0.5 / 6)
    assert "2/1/3" in comparison.table()
    assert comparison.to_json()["measures"]["MRR@10"]["wins"] == 2


def test_a_missing_run_is_named(runs, tmp_path):
    dataset, first, _ = runs
    with pytest.raises(EvaluationError, match=r"nowhere\.run"):
        compare_runs(dataset, first, tmp_path / "nowhere.run")


def test_a_run_with_a_query_that_the_dataset_does_not_have_is_refused(runs, tmp_path):
    dataset, first, _ = runs
    other = tmp_path / "other.run"
    other.write_text("q0 Q0 good 1 1.0 t\nq99 Q0 good 1 1.0 t\n")
    with pytest.raises(InputFileError, match=r"other\.run:2.*'q99'"):
        compare_runs(dataset, first, other)


def test_two_rankings_stand_side_by_side_with_both_ranks():
    first = Ranking("q", ["a", "b", "c"], np.array([3.0, 2.0, 1.0]))
    second = Ranking("q", ["c", "d"], np.array([3.0, 2.0]))
    pairs = {pair.doc_id: (pair.first, pair.second, pair.grade) for pair in side_by_side(first, second, {"c": 1}, k=2)}
    assert pairs == {"a": (1, None, None), "c": (3, 1, 1), "b": (2, None, None), "d": (None, 2, None)}


def test_a_diagnosis_shows_what_each_document_matched_and_what_was_missed(tmp_path):
    with Collection.create(tmp_path / "food") as collection:
        texts = {"a": "lobster roll", "b": "lobster lobster bisque", "c": "crustacean sandwich"}
        collection.write([Document(key, text=text) for key, text in texts.items()])
        diagnosis = diagnose(collection, Query("q", "lobster roll recipe"), {"a": 2, "c": 1})
    by_id = {document.doc_id: document for document in diagnosis.documents}
    assert {match.token for match in by_id["a"].matches} == {"lobster", "roll"}
    assert by_id["a"].rank == 1
    assert sum(match.contribution for match in by_id["a"].matches) == pytest.approx(by_id["a"].score, rel=1e-3)
    assert by_id["b"].grade is None
    assert (by_id["c"].rank, by_id["c"].matches) == (None, ())  # relevant but not found: no term in common
    assert diagnosis.unmatched_terms == ()  # recipe is in no document, so it is not a query term
    assert "no term in common" in diagnosis.table()


def test_one_query_is_diagnosed_in_several_collections(runs, tmp_path):
    dataset, _, _ = runs
    for name, text in (("one", "a query"), ("two", "nothing")):
        with Collection.create(tmp_path / name) as collection:
            collection.write([Document("good", text=text)])
    diagnoses = diagnose_query([tmp_path / "one", tmp_path / "two"], dataset, "q1")
    assert [(d.system, d.documents[0].rank) for d in diagnoses] == [("one", 1), ("two", None)]
    with pytest.raises(EvaluationError, match="no query 'q9'"):
        diagnose_query([tmp_path / "one"], dataset, "q9")


def test_one_query_of_two_runs_is_shown_side_by_side(runs):
    dataset, first, second = runs
    lines = side_by_side_table(dataset, first, second, "q5").splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["1", "1", "–", "bad"],
        ["2", "–", "1", "good"],
        ["–", "2", "–", "other"],
    ]
