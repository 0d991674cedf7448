"""The document with the query's own id: the figure does not depend on the data set's name, and says what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval import evaluate, evaluate_all, from_trec_files, open_dataset
from eval.batch import SystemSpec
from eval.comparison.runs import compare
from lsr.cli.running import run

WORDS = {"q1": "the lobster argument", "a1": "a lobster counter argument", "x": "the sea"}


def folder(parent: Path, name: str, *, judged: str = "a1") -> Path:
    """Write an ArguAna-like set: the query is a document, and the best one for itself."""
    path = parent / name
    (path / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": one, "title": "", "text": text}) for one, text in WORDS.items()]
    (path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    (path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": WORDS["q1"]}) + "\n")
    (path / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq1\t{judged}\t1\n")
    return path


def figures(dataset: Any, **options: Any) -> tuple[float, bool, int, int]:
    found = evaluate(dataset, encoder="bm25", measures=["MRR@10"], **options)
    own = [warning for warning in found.warnings if "own id" in warning]
    return found.means["MRR@10"], found.own_document_dropped, found.own_documents, len(own)


def test_the_figure_does_not_depend_on_the_folders_name(tmp_path: Path) -> None:
    for name in ("mine", "arguana", "quora", "vaswani"):
        assert figures(folder(tmp_path, name)) == (1.0, True, 1, 1)


@pytest.mark.parametrize(("choice", "expected"), [(True, (1.0, True, 1, 0)), (False, (0.5, False, 1, 0))])
def test_the_choice_counts_and_needs_no_warning(
    tmp_path: Path, choice: bool, expected: tuple[float, bool, int, int]
) -> None:
    path = folder(tmp_path, "arguana")
    assert figures(path, drop_own_document=choice) == expected
    assert figures(open_dataset(path, drop_own_document=choice)) == expected
    assert figures(open_dataset(path), drop_own_document=choice) == expected


def test_ids_that_are_equal_by_chance_are_kept(tmp_path: Path) -> None:
    path = folder(tmp_path, "arguana", judged="q1")
    assert figures(path) == (1.0, False, 1, 1)
    assert figures(path, drop_own_document=True) == (0.0, True, 1, 1), "a relevant document is dropped: a warning"


def test_plain_topics_keep_it_and_say_so(tmp_path: Path) -> None:
    path = folder(tmp_path, "d")
    (tmp_path / "t").write_text(f"q1\t{WORDS['q1']}\n")
    (tmp_path / "q").write_text("q1 0 a1 1\n")
    files = (tmp_path / "t", tmp_path / "q")
    corpus = str(path / "corpus.jsonl")
    assert figures(from_trec_files(*files, corpus=corpus)) == (0.5, False, 1, 1)
    assert figures(from_trec_files(*files, corpus=corpus, drop_own_document=True)) == (1.0, True, 1, 0)


def test_nothing_is_said_where_nothing_depends_on_it(tmp_path: Path) -> None:
    path = folder(tmp_path, "d")
    (path / "queries.jsonl").write_text(json.dumps({"_id": "other", "text": WORDS["q1"]}) + "\n")
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nother\ta1\t1\n")
    assert figures(path) == (0.5, True, 0, 0)


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(folder(tmp_path, "mine"))
    command = ["eval", "--dataset", path, "--encoder", "bm25", "--measures", "MRR@10"]
    assert run(command) == 0
    said = capsys.readouterr()
    assert "MRR@10  1.0000" in said.out
    assert "the document with the query's own id is left out: 1 queries" in said.out
    assert "warning: the document with the query's own id is left out of the rankings of 1 queries" in said.err
    assert "--own-document keep" in said.err
    assert run([*command, "--own-document", "keep", "--json", "--run", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["MRR@10"] == 0.5
    assert json.loads(said.out)["own_document"] == {"dropped": False, "queries": 1}
    assert "own id" not in said.err
    for choice, expected in (("drop", 1.0), ("keep", 0.5)):
        both = [str(tmp_path / "run"), str(tmp_path / "run")]
        assert run(["compare", *both, *command[1:3], "--measures", "MRR@10", "--own-document", choice]) == 0
        said = capsys.readouterr()
        assert f"{expected:.4f}" in said.out
        assert "own id" not in said.err


def test_a_comparison_says_it_with_the_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(folder(tmp_path, "mine"))
    (tmp_path / "with").write_text("q1 Q0 q1 1 9.0 with\nq1 Q0 a1 2 8.0 with\n")
    (tmp_path / "without").write_text("q1 Q0 a1 1 8.0 without\n")
    command = ["compare", str(tmp_path / "with"), str(tmp_path / "with"), "--dataset", path, "--measures", "MRR@10"]
    assert run(command) == 0
    said = capsys.readouterr()
    warning = "the document with the query's own id is left out of the rankings of 1 queries"
    assert said.err.count(warning) == 1
    assert "--own-document keep" in said.err
    command[2] = str(tmp_path / "without")
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["warnings"]
    assert len(found) == 1
    assert found[0].startswith(f"with: {warning}")
    assert run([*command, "--own-document", "keep"]) == 0
    assert "own id" not in capsys.readouterr().err


def test_two_results_with_different_rules_are_said_to_be_so(tmp_path: Path) -> None:
    path = folder(tmp_path, "mine")
    kept, dropped = (evaluate(path, encoder="bm25", drop_own_document=choice) for choice in (False, True))
    (warning,) = compare(kept, dropped, open_dataset(path)).warnings
    assert "left out of the rankings" in warning
    assert "the difference is also one of that rule" in warning


def test_a_stored_result_of_another_rule_is_computed_again(tmp_path: Path) -> None:
    path, results = folder(tmp_path, "mine"), tmp_path / "results"

    def once(choice: bool | None) -> tuple[str, float]:
        (outcome,) = evaluate_all(
            [path], [SystemSpec(encoder="bm25")], results, measures=["MRR@10"], drop_own_document=choice
        )
        assert outcome.cell is not None
        return outcome.status, outcome.cell.measures["MRR@10"]

    assert [once(None), once(None), once(True), once(False), once(False)] == [
        ("done", 1.0), ("kept", 1.0), ("kept", 1.0), ("done", 0.5), ("kept", 0.5),
    ]  # fmt: skip
