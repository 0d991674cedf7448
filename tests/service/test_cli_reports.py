"""The reporting commands: eval, leaderboard, compare, bench. Small data with known answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from eval.bench import kannolo
from lsr.cli.running import run

DOCUMENTS = {"d1": "lobster roll with butter", "d2": "egg roll with cabbage", "d3": "rye bread and dill", "d4": "dill"}
QUERIES = {"q1": "lobster", "q2": "dill bread", "q3": "zyzzyva"}
QRELS = [("q1", "d1"), ("q2", "d3"), ("q3", "d2")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beir") / "tiny"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    lines = ["query-id\tcorpus-id\tscore", *(f"{query}\t{document}\t1" for query, document in QRELS)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def collection(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "tiny"
    assert run(["index", str(dataset), "--out", str(path)]) == 0
    return path


def printed(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_eval_prints_one_object_and_writes_a_run_that_evaluates_to_the_same(
    dataset: Path, collection: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    run_file = str(tmp_path / "a.run")
    line = ["eval", "--dataset", str(dataset), "--measures", "nDCG@10,MRR@10", "--json", "--run", run_file]
    assert run([*line, str(collection)]) == 0
    (answer,) = printed(capfd)
    # Two of three queries find their only document first, the third finds nothing and counts as 0.
    assert answer["nDCG@10"] == answer["MRR@10"] == pytest.approx(2 / 3)
    assert answer["dataset"] == "tiny"
    assert run(line) == 0
    (again,) = printed(capfd)
    assert again["nDCG@10"] == answer["nDCG@10"]


def test_results_are_kept_shown_and_resumed(dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = ["eval", "--all", str(dataset.parent), "--results", str(tmp_path / "r"), "--json"]
    assert run(line) == 0
    assert [one["status"] for one in printed(capfd)] == ["done"]
    assert run(line) == 0
    assert [one["status"] for one in printed(capfd)] == ["kept"]
    assert run(["leaderboard", str(tmp_path / "r"), "--csv", "--no-published"]) == 0
    out = capfd.readouterr().out
    assert "bm25" in out
    assert "tiny" in out
    assert run(["leaderboard", str(tmp_path / "r"), "--html", str(tmp_path / "page.html")]) == 0
    assert "<html" in (tmp_path / "page.html").read_text()


def test_a_data_set_that_fails_does_not_stop_the_others(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "all" / "broken" / "qrels").mkdir(parents=True)
    (tmp_path / "all" / "broken" / "corpus.jsonl").touch()
    (tmp_path / "all" / "broken" / "queries.jsonl").touch()
    (tmp_path / "all" / "tiny").symlink_to(dataset)
    assert run(["eval", "--all", str(tmp_path / "all"), "--results", str(tmp_path / "r")]) == 4
    out, err = capfd.readouterr()
    assert "tiny" in out
    assert "broken" in err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("eval", "--dataset"),
        ("eval --dataset nowhere", "nowhere"),
        ("eval --all . ", "--results"),
        ("eval --topics t", "--qrels"),
        ("eval --dataset a --dataset b --run r", "one data set"),
        ("leaderboard nowhere", "nowhere"),
        ("leaderboard . --csv --json", "one of them"),
        ("bench nowhere --queries q", "nowhere"),
        ("bench nowhere --queries q --peers lucene", "lucene"),
        ("bench nowhere --queries q --plot p.pdf", ".png"),
        ("export nowhere --to jsonl", "nowhere"),
        ("export nowhere --to jsno", "jsno"),
    ],
)
def test_reports_that_make_no_sense_are_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(line.split()) == 2
    out, err = capfd.readouterr()
    assert words in err
    assert out == ""


def write_vectors(path: Path, count: int, terms: int) -> None:
    lines = [
        json.dumps({"id": str(n), "sparse": {f"t{(n * step) % terms}": 1.0 + step / 8 for step in range(1, 9)}})
        for n in range(count)
    ]
    path.write_text("\n".join(lines))


def test_bench_of_vectors_finds_everything_when_exact_and_draws_the_curve(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_vectors(tmp_path / "documents.jsonl", 300, 53)
    write_vectors(tmp_path / "queries.jsonl", 5, 53)
    plot = tmp_path / "curve.png"
    line = ["bench", str(tmp_path / "documents.jsonl"), "--queries", str(tmp_path / "queries.jsonl"), "--repeat", "1"]
    assert run([*line, "--plot", str(plot), "--json"]) == 0
    curve, mapped = printed(capfd)
    assert mapped["target"] == "lsr, mapped"
    (exact,) = [point for point in curve["points"] if point["settings"] == {"exact": True}]
    assert exact["recall"] == 1.0
    assert all(0 <= point["recall"] <= 1 and point["p50_us"] <= point["p99_us"] for point in curve["points"])
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_bench_compares_peers_for_every_k(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    sides = {}
    for side, n in (("d", 400), ("q", 120)):
        matrix = csr_array((rng.random((n, 60)) * (rng.random((n, 60)) < 0.2)).astype(np.float32))
        sides |= {f"{side}_data": matrix.data, f"{side}_indices": matrix.indices, f"{side}_indptr": matrix.indptr}
    np.savez(tmp_path / "vectors.npz", V=60, **sides)
    line = ["bench", str(tmp_path / "vectors.npz"), "--limit", "10", "--repeat", "1", "-k", "3", "-k", "20"]
    builds = tmp_path / "builds"
    assert run([*line, "--peers", "scipy", "--builds", str(builds), "--json"]) == 0
    curves = printed(capfd)
    assert [(curve["target"], curve["k"]) for curve in curves] == [
        (name, k) for name in ("lsr", "lsr, mapped", "scipy") for k in (3, 20)
    ]
    assert all(max(point["recall"] for point in curve["points"]) > 0.99 for curve in curves)
    assert (builds / "lsr" / "manifest.json").exists()
    assert run([*line, "--peers", "scipy", "--builds", str(builds)]) == 0
    assert "recall@20 or better" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("build", "seconds", "reason"),
    [
        ("import time; time.sleep(60)", "1", "kannolo was not built within 1 seconds"),
        ("raise SystemExit(7)", "60", "kannolo was not built: its process ended with status 7"),
    ],
)
def test_a_peer_that_is_not_built_is_left_out_and_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    build: str,
    seconds: str,
    reason: str,
) -> None:
    monkeypatch.setattr(kannolo, "_BUILD", build)
    monkeypatch.setattr(kannolo, "find_spec", lambda _: True)
    write_vectors(tmp_path / "documents.jsonl", 100, 53)
    write_vectors(tmp_path / "queries.jsonl", 5, 53)
    line = ["bench", str(tmp_path / "documents.jsonl"), "--queries", str(tmp_path / "queries.jsonl"), "--repeat", "1"]
    assert run([*line, "--peers", "kannolo", "--peers", "scipy", "--build-limit", seconds, "--json"]) == 0
    out, err = capfd.readouterr()
    assert [json.loads(one)["target"] for one in out.splitlines()] == ["lsr", "lsr, mapped", "scipy"]
    assert reason in err


def test_bench_of_a_collection_takes_texts(dataset: Path, collection: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert run(["bench", str(collection), "--queries", str(dataset), "--repeat", "1"]) == 0
    out = capfd.readouterr().out
    assert "3 queries" in out
    assert "exact=True" in out
