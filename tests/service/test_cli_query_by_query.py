"""Single queries on the command line: `lsr diagnose` and `lsr compare --query`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsr.cli.running import run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": "d1", "text": "lobster roll"}, {"_id": "d2", "text": "rye bread"}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "a lobster with bread and caper"}))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return folder


def test_diagnose_names_the_terms_that_matched_and_those_no_relevant_document_holds(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["index", str(dataset), "--out", str(tmp_path / "c")]) == 0
    capsys.readouterr()
    assert run(["diagnose", str(tmp_path / "c"), "--dataset", str(dataset), "--query", "q1", "--json"]) == 0
    (diagnosis,) = json.loads(capsys.readouterr().out)
    assert "bread" in diagnosis["unmatched_terms"]
    assert "lobster" not in diagnosis["unmatched_terms"]


def test_an_unknown_query_is_a_usage_error(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["index", str(dataset), "--out", str(tmp_path / "c")]) == 0
    assert run(["diagnose", str(tmp_path / "c"), "--dataset", str(dataset), "--query", "q2"]) == 2
    assert "no query 'q2'" in capsys.readouterr().err


def test_compare_shows_one_querys_documents_in_both_runs(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.run", tmp_path / "second.run"
    first.write_text("q1 Q0 d1 1 2.0 first\nq1 Q0 d2 2 1.0 first\n")
    second.write_text("q1 Q0 d2 1 3.0 second\n")
    assert run(["compare", str(first), str(second), "--dataset", str(dataset), "--query", "q1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:]] == [["1", "–", "1", "d1"], ["2", "1", "–", "d2"]]
