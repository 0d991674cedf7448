"""`tune` on collections whose best search defaults are known by construction, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval import Dataset, evaluate, from_trec_files, tune
from eval.evaluate_system import SearchSettings
from eval.measures import parse_measure, score
from eval.ranking import Ranking
from eval.sources.queries import Query
from eval.tuning.held_out import PRESENT, TUNED
from eval.tuning.setting import METHODS, Setting, alone, lists_of, present_setting, to_search
from eval.tuning.values import Values, judge
from lsr.cli.running import run as lsr
from lsr.collection import Collection
from lsr.dense_vectors import DenseVector
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.errors import QueryError
from lsr.search.defaults import parse_defaults
from lsr.vectors import VectorConfig

DOCUMENTS = 60
QUERIES = 24
DIMENSIONS = 6
TEXTS = {f"q{number:02}": f"word{number}" for number in range(QUERIES)}
VECTORS = {
    "good": VectorConfig("bm25"),
    "noise": VectorConfig("bm25"),
    "meaning": VectorConfig("lsr-mini", dense=True, dimensions=DIMENSIONS),
}
BOTH = {"queries": [{"using": "good"}, {"using": "noise"}]}
RESCORED = {**BOTH, "rescore": {"using": "meaning", "candidates": 50, "weight": 1}}


def dense_of(text: str) -> NDArray[np.float32]:
    vector = np.random.default_rng(int(text.removeprefix("word"))).standard_normal(DIMENSIONS).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query's dense vector is drawn by its text: no test here runs a model."""
    monkeypatch.setattr(DenseVector, "encode_query", lambda self, text: dense_of(text))
    monkeypatch.setattr(DenseVector, "can_encode", True)
    monkeypatch.setattr(DenseVector, "fingerprint", "drawn")


def make(folder: Path, search: dict[str, Any], *, dense_is_true: bool = False) -> dict[str, dict[str, int]]:
    """Write a collection and return judgements that its vector `good` orders rightly, or with `dense_is_true` its
    dense vector; the other sparse vector is noise."""
    rng = np.random.default_rng(7)
    good, noise = rng.random((2, DOCUMENTS, QUERIES))
    dense = rng.standard_normal((DOCUMENTS, DIMENSIONS))
    documents = [
        Document(
            f"d{at:02}",
            vectors={
                "good": SparseByToken({f"word{q}": float(good[at, q]) for q in range(QUERIES)}),
                "noise": SparseByToken({f"word{q}": float(noise[at, q]) for q in range(QUERIES)}),
                "meaning": DenseInput(tuple(dense[at].tolist())),
            },
        )
        for at in range(DOCUMENTS)
    ]
    with Collection.create(folder, vectors=VECTORS, search=search) as collection:
        collection.write(documents)
    truth = good
    if dense_is_true:
        unit = dense / np.linalg.norm(dense, axis=1, keepdims=True)
        truth = np.stack([unit @ dense_of(text) for text in TEXTS.values()], axis=1)
    return {name: judged_best(truth[:, at]) for at, name in enumerate(TEXTS)}


def judged_best(truth: NDArray[np.float64]) -> dict[str, int]:
    """The best five documents, with grades from 5 to 1."""
    return {f"d{at:02}": 5 - place for place, at in enumerate(np.argsort(-truth)[:5].tolist())}


def dataset(qrels: dict[str, dict[str, int]], texts: dict[str, str] = TEXTS) -> Dataset:
    queries = {name: Query(name, text) for name, text in texts.items()}
    return Dataset("made", "", queries, qrels, None)


# --- values


def settings(rng: np.random.Generator, count: int) -> Sequence[Setting]:
    methods = (*METHODS, "sum")
    weights = [(1.0, 1.0), (0.5, 2.0), (1.0, 0.0), (0.0, 0.3)]
    return [
        Setting(
            methods[rng.integers(len(methods))],  # type: ignore[arg-type] # a Method
            weights[rng.integers(len(weights))],
            (int(rng.integers(1, 40)), int(rng.integers(1, 40))),
            float(rng.choice([0.0, 0.5, 3.0])),
            int(rng.integers(1, 30)),
        )
        for _ in range(count)
    ]


def test_the_value_of_a_setting_is_that_of_a_search_by_it(tmp_path: Path) -> None:
    qrels = make(tmp_path / "c", RESCORED)
    with Collection.open(tmp_path / "c") as collection:
        defaults = collection.search_defaults
        lists = lists_of(defaults, ["good", "noise"], ["meaning"])
        found = collection.candidates(list(TEXTS.values()), using=lists.using, dense=lists.dense, depth=50)
        values = Values([judge(one, qrels[name], None) for name, one in zip(TEXTS, found, strict=True)], defaults.k)
        assert present_setting(defaults, lists) == Setting("scaled", (1.0, 1.0), (100, 100), 1.0, 50)
        tried = [*settings(np.random.default_rng(3), 60), alone(0, lists), alone(1, lists)]
        for setting in tried:
            pipeline = to_search(setting, lists, defaults)
            ranked = collection.rank(list(TEXTS.values()), pipeline=pipeline, k=10)
            rankings = [Ranking(name, ids, scores) for name, (ids, scores) in zip(TEXTS, ranked, strict=True)]
            measure = parse_measure("nDCG@10")
            wanted = score(rankings, [qrels[name] for name in TEXTS], [measure])[measure]
            assert values.of(setting) == pytest.approx(wanted, abs=1e-12), pipeline
        assert len(values) == len(set(tried))


def test_the_present_defaults_have_the_figure_of_lsr_eval(tmp_path: Path) -> None:
    qrels = make(tmp_path / "c", RESCORED)
    result = tune(dataset(qrels), tmp_path / "c")
    evaluated = evaluate(
        dataset(qrels), collection=tmp_path / "c", measures=["nDCG@10"], search=SearchSettings(pipeline="default")
    )
    assert result.values[PRESENT].mean() == pytest.approx(evaluated.means["nDCG@10"], abs=1e-12)
    for name in ("good", "noise"):
        single = evaluate(dataset(qrels), collection=tmp_path / "c", measures=["nDCG@10"], search=SearchSettings(name))
        assert result.values[f"{name} alone"].mean() == pytest.approx(single.means["nDCG@10"], abs=1e-12)


def test_the_querys_own_document_is_not_ranked_where_the_benchmark_drops_it(tmp_path: Path) -> None:
    make(tmp_path / "c", BOTH)
    with Collection.open(tmp_path / "c") as collection:
        (one,) = collection.candidates(["word3"], using=["good"], depth=50)
        best = one.ids[int(np.argmin(np.where(one.ranks[0] > 0, one.ranks[0], 99)))]
        second = one.ids[one.ranks[0].tolist().index(2)]
        plain = alone(0, lists_of(collection.search_defaults, [], []))
        plain = Setting("scaled", plain.weights[:1], plain.limits[:1], 0.0, 100)
        assert Values([judge(one, {second: 1}, None)], 60).of(plain)[0] < 1
        assert Values([judge(one, {second: 1}, best)], 60).of(plain)[0] == 1


# --- tuning


def test_the_querys_own_document_is_said_with_the_count(tmp_path: Path) -> None:
    qrels = make(tmp_path / "c", {"queries": [{"using": "good"}]})
    texts = {f"d{59 - at}" if at < 3 else name: text for at, (name, text) in enumerate(TEXTS.items())}
    renamed = dict(zip(texts, qrels.values(), strict=True))
    without = {one: {doc: grade for doc, grade in grades.items() if doc != one} for one, grades in renamed.items()}
    warnings = tune(dataset(without, texts), tmp_path / "c").warnings
    assert [warning for warning in warnings if "own id is in the rankings of 3 queries" in warning]
    assert not [one for one in tune(dataset(qrels), tmp_path / "c").warnings if "own id" in one]


def test_a_list_of_noise_gets_no_weight(tmp_path: Path) -> None:
    qrels = make(tmp_path / "c", BOTH)
    result = tune(dataset(qrels), tmp_path / "c")
    assert result.held_out > 0.999
    assert result.verdict == "better"
    assert result.values["good alone"].mean() > 0.999
    assert result.values[PRESENT].mean() < 0.8
    assert result.search["queries"] == [{"using": "good"}]
    assert result.search["rescore"] is None
    with Collection.open(tmp_path / "c", "w") as collection:
        collection.set_search_defaults(result.search)
    after = evaluate(
        dataset(qrels), collection=tmp_path / "c", measures=["nDCG@10"], search=SearchSettings(pipeline="default")
    )
    assert after.means["nDCG@10"] == pytest.approx(result.in_sample, abs=1e-12)


def test_a_dense_vector_that_knows_gets_the_weight_and_the_depth(tmp_path: Path) -> None:
    search = {"queries": [{"using": "noise"}], "rescore": {"using": "meaning", "candidates": 20, "weight": 0.5}}
    qrels = make(tmp_path / "c", search, dense_is_true=True)
    result = tune(dataset(qrels), tmp_path / "c")
    assert result.verdict == "better"
    assert result.held_out > 0.9 > result.values[PRESENT].mean()
    rescore = result.search["rescore"]
    assert rescore["weight"] >= 8
    assert rescore["candidates"] > 20


def test_defaults_that_are_best_already_stay(tmp_path: Path) -> None:
    qrels = make(tmp_path / "c", {"queries": [{"using": "good"}]})
    result = tune(dataset(qrels), tmp_path / "c")
    assert not result.changed
    assert result.verdict == "no clear difference"
    assert result.search == result.present


def test_random_judgements_are_not_reported_as_an_improvement(tmp_path: Path) -> None:
    make(tmp_path / "c", RESCORED)
    found = []
    for seed in (1, 2, 5, 8):
        rng = np.random.default_rng(seed)
        found.append(tune(dataset({name: judged_best(rng.random(DOCUMENTS)) for name in TEXTS}), tmp_path / "c"))
    assert all(result.verdict != "better" for result in found)
    assert any(result.changed for result in found)
    # On the queries that chose them, settings look better than they are.
    assert np.mean([result.in_sample for result in found]) > np.mean([result.held_out for result in found]) + 0.02


def test_folds_hold_every_query_out_once_and_have_no_part_in_its_setting(tmp_path: Path) -> None:
    qrels = make(tmp_path / "c", RESCORED)
    result = tune(dataset(qrels), tmp_path / "c", folds=4)
    assert [len(fold.query_ids) for fold in result.folds] == [6, 6, 6, 6]
    assert sorted(name for fold in result.folds for name in fold.query_ids) == list(TEXTS)
    assert result.values[TUNED].mean() == pytest.approx(np.mean([fold.held_out for fold in result.folds]))
    first = result.folds[0]
    rng = np.random.default_rng(1)
    changed = qrels | {name: judged_best(rng.random(DOCUMENTS)) for name in first.query_ids}
    again = tune(dataset(changed), tmp_path / "c", folds=4)
    assert (again.folds[0].search, again.folds[0].chosen_by) == (first.search, first.chosen_by)
    assert again.folds[0].held_out < first.held_out
    assert again.folds[1].chosen_by != result.folds[1].chosen_by


# --- bad input


def test_too_few_judged_queries_are_refused(tmp_path: Path) -> None:
    qrels = make(tmp_path / "c", BOTH)
    few = dict(list(qrels.items())[:9])
    few |= {name: {"d00": 0} for name in list(qrels)[9:]}
    with pytest.raises(QueryError, match="9 queries have a relevant document; tuning needs 10"):
        tune(dataset(few), tmp_path / "c")


def test_judgements_of_other_documents_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "c", BOTH)
    qrels = {name: {f"elsewhere{name}": 1} for name in TEXTS}
    with pytest.raises(QueryError, match="none of the 24 relevant documents is in the collection"):
        tune(dataset(qrels), tmp_path / "c")
    qrels["q00"] = {"d00": 1}
    assert tune(dataset(qrels), tmp_path / "c").warnings == (
        "23 of 24 relevant documents are not in the collection, such as 'elsewhereq01'",
    )


@pytest.mark.parametrize(("option", "value"), [("folds", 1), ("folds", 25), ("depth", 49), ("depth", 1001)])
def test_numbers_out_of_range_are_named(tmp_path: Path, option: str, value: int) -> None:
    qrels = make(tmp_path / "c", BOTH)
    with pytest.raises(QueryError, match=f"{option}: from") as caught:
        tune(dataset(qrels), tmp_path / "c", **{option: value})  # type: ignore[arg-type] # an int
    assert caught.value.field == option


def test_a_rescoring_that_no_model_can_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qrels = make(tmp_path / "c", RESCORED)
    monkeypatch.setattr(DenseVector, "can_encode", False)
    with pytest.raises(QueryError, match="no model can run here"):
        tune(dataset(qrels), tmp_path / "c")


# --- the command


def write_files(folder: Path, qrels: dict[str, dict[str, int]]) -> tuple[str, str]:
    queries, judgements = folder / "queries.jsonl", folder / "qrels.txt"
    queries.write_text("".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in TEXTS.items()))
    lines = [f"{name} 0 {doc} {grade}\n" for name, grades in qrels.items() for doc, grade in grades.items()]
    judgements.write_text("".join(lines))
    return str(queries), str(judgements)


def test_the_command_writes_what_it_found_unless_told_otherwise(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    queries, qrels = write_files(tmp_path, make(tmp_path / "c", BOTH))
    command = ["tune", str(tmp_path / "c"), "--queries", queries, "--qrels", qrels]
    assert lsr([*command, "--dry-run"]) == 0
    out, err = capfd.readouterr()
    assert "tuned, held out" in out
    assert "nothing is written" in err
    with Collection.open(tmp_path / "c") as collection:
        assert collection.search_defaults == parse_defaults(BOTH | {"weights": [1, 1]}, VECTORS, {})
    assert lsr([*command, "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["written"]
    assert report["verdict"] == "better"
    with Collection.open(tmp_path / "c") as collection:
        assert collection.search_defaults.to_json() == report["search"]


def test_a_lower_held_out_mean_is_written_by_force_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "c", RESCORED)
    rng = np.random.default_rng(5)
    judged = {name: judged_best(rng.random(DOCUMENTS)) for name in TEXTS}
    result = tune(dataset(judged), tmp_path / "c")
    assert result.changed
    assert not result.not_lower
    queries, qrels = write_files(tmp_path, judged)
    command = ["tune", str(tmp_path / "c"), "--queries", queries, "--qrels", qrels, "--json"]
    assert lsr(command) == 0
    out, err = capfd.readouterr()
    assert not json.loads(out)["written"]
    assert "--force" in err
    assert lsr([*command, "--force"]) == 0
    assert json.loads(capfd.readouterr().out)["written"]


@pytest.mark.parametrize("arguments", [[], ["--queries", "q"], ["--dataset", "d", "--queries", "q"], ["--split", "x"]])
def test_the_command_needs_queries_with_judgements(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert lsr(["tune", str(tmp_path), *arguments]) == 2
    assert "--queries" in capfd.readouterr().err or "--split" in arguments


def test_the_command_refuses_too_few_queries_with_exit_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    qrels = make(tmp_path / "c", BOTH)
    queries, judgements = write_files(tmp_path, dict(list(qrels.items())[:5]))
    assert lsr(["tune", str(tmp_path / "c"), "--queries", queries, "--qrels", judgements]) == 2
    assert "tuning needs 10" in capfd.readouterr().err


def test_topics_are_read_from_json_lines_as_from_tabs(tmp_path: Path) -> None:
    queries, qrels = write_files(tmp_path, {"q00": {"d00": 1}})
    tabs = tmp_path / "queries.tsv"
    tabs.write_text("".join(f"{name}\t{text}\n" for name, text in TEXTS.items()))
    assert from_trec_files(Path(queries), Path(qrels)).queries == from_trec_files(tabs, Path(qrels)).queries
