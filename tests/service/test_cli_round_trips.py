"""Collections through encode, export, reindex and merge: searches give the same results before and after."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsr.cli.running import run
from lsr.collection import Collection

WORDS = ["lobster", "roll", "butter", "bread", "egg", "cabbage", "herring", "shrimp", "dill", "rye", "onion", "caper"]
DOCUMENTS = [
    {
        "id": f"d{n:02}",
        "title": WORDS[n % 12],
        "text": " ".join(WORDS[(n * step) % 12] for step in range(1, 4 + n % 7)),
        "metadata": {"year": 2000 + n},
    }
    for n in range(40)
]
QUERIES = ["lobster roll", "rye bread", "egg dill onion", "caper"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, DOCUMENTS)))
    return path


@pytest.fixture(scope="module")
def collection(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "c"
    assert run(["index", str(corpus), "--out", str(path), "--schema", '{"year":"int"}']) == 0
    return path


def answers(path: Path) -> list[list[tuple[str, float]]]:
    with Collection.open(path) as collection:
        results = [collection.search(query, k=50, exact=True) for query in QUERIES]
        return [[(hit.id, hit.score) for hit in result.hits] for result in results]


@pytest.mark.parametrize("name", ["v.jsonl", "v.arrow"])
def test_encoded_vectors_index_to_the_collection_of_the_corpus(
    corpus: Path, collection: Path, tmp_path: Path, name: str
) -> None:
    vectors, again = tmp_path / name, tmp_path / "again"
    assert run(["encode", str(corpus), "--out", str(vectors)]) == 0
    line = ["index", str(vectors), "--out", str(again), "--format", "vectors"]
    # JSON lines do not record their encoder; Arrow files do.
    assert run(line if name.endswith("arrow") else [*line, "--encoder", "bm25"]) == 0
    assert answers(again) == answers(collection)


def test_an_export_indexes_to_the_same_collection(collection: Path, tmp_path: Path) -> None:
    assert run(["export", str(collection), "--to", "arrow", "--out", str(tmp_path / "e.arrow")]) == 0
    assert run(["index", str(tmp_path / "e.arrow"), "--out", str(tmp_path / "c")]) == 0
    assert answers(tmp_path / "c") == answers(collection)
    with Collection.open(tmp_path / "c") as again:
        assert again.get("d07") is not None
        assert dict(again.get("d07").metadata) == {"year": 2007}  # type: ignore[union-attr]


def test_an_export_to_stdout_is_data_only(collection: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(collection), "--to", "jsonl"]) == 0
    out, err = capfd.readouterr()
    assert {json.loads(line)["id"] for line in out.splitlines()} == {document["id"] for document in DOCUMENTS}
    assert err == "lsr: 40 documents written to stdout\n"


def test_vectors_of_another_encoder_are_refused(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["encode", str(corpus), "--out", str(tmp_path / "v.arrow")]) == 0
    monkeypatch.setattr("encoders.bm25.BM25Encoder.fingerprint", property(lambda self: "another"))
    assert run(["index", str(tmp_path / "v.arrow"), "--out", str(tmp_path / "c")]) == 1
    assert "'bm25' has another here" in capfd.readouterr().err
    assert not (tmp_path / "c").exists()


def test_reindex_reads_a_collection_and_writes_another(
    collection: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["reindex", str(collection), "--out", str(tmp_path / "c"), "--encoder", "bm25"]) == 0
    assert answers(tmp_path / "c") == answers(collection)
    with Collection.open(tmp_path / "c") as again:
        assert again.info().schema == {"year": "int"}
    capfd.readouterr()
    assert run(["reindex", str(collection), "--out", str(tmp_path / "d"), "--using", "spalde"]) == 2
    assert "'spalde'" in capfd.readouterr().err


def test_merge_drops_what_was_deleted_and_changes_no_answer(
    collection: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(collection, tmp_path / "copy")
    with Collection.open(copy, "w") as writer:
        writer.delete(["d01", "d02"])
    before = answers(copy)
    capfd.readouterr()
    assert run(["merge", str(copy), "--json"]) == 0
    shown: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert shown["documents"] == 38
    assert (shown["before"]["deleted"], shown["after"]["deleted"]) == (2, 0)
    assert answers(copy) == before
    assert run(["verify", str(copy)]) == 0


def test_merge_is_refused_while_another_process_writes(
    collection: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(collection, tmp_path / "copy")
    with Collection.open(copy, "w"):
        assert run(["merge", str(copy)]) == 1
    assert str(copy) in capfd.readouterr().err


def test_a_vectors_corpus_without_encoder_takes_sparse_queries_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "v.jsonl").write_text(
        '{"id":0,"content":"x","vector":{"lobster":2.0}}\n{"id":1,"content":"no vector"}\n'
    )
    out = str(tmp_path / "c")
    assert run(["index", str(tmp_path / "v.jsonl"), "--format", "vectors", "--out", out]) == 4
    assert "v.jsonl:2:" in capfd.readouterr().err
    assert run(["search", out, "--sparse", '{"lobster":1.5}', "--json"]) == 0
    hits = json.loads(capfd.readouterr().out)["hits"]
    assert [(hit["id"], hit["score"]) for hit in hits] == [("0", 3.0)]
    assert run(["search", out, "lobster"]) == 2
    assert "no encoder" in capfd.readouterr().err


def test_a_snapshot_brings_back_what_was_deleted(
    collection: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(collection, tmp_path / "copy")
    before = answers(copy)
    capfd.readouterr()
    assert run(["snapshot", "create", str(copy), "--name", "first", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["documents"] == 40
    with Collection.open(copy, "w") as writer:
        writer.delete(document["id"] for document in DOCUMENTS)
    assert answers(copy) == [[] for _ in QUERIES]
    assert answers(copy / "snapshots" / "first") == before
    assert run(["snapshot", "restore", str(copy), "first"]) == 0
    assert answers(copy) == before
    assert run(["snapshot", "list", str(copy)]) == 0
    assert "first" in capfd.readouterr().out
    assert run(["snapshot", "restore", str(copy), "frist"]) == 2
    assert "frist" in capfd.readouterr().err
    assert run(["snapshot", "delete", str(copy), "first"]) == 0
    assert not (copy / "snapshots" / "first").exists()


@pytest.mark.parametrize(
    "command", ["search {} x", "verify {}", "merge {}", "export {} --to jsonl", "snapshot list {}"]
)
def test_a_folder_of_collections_is_distinguished_from_a_collection(
    collection: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(command.format(collection.parent).split()) == 2
    assert f"give one of them: {collection}" in capfd.readouterr().err


def test_a_checkpoint_given_by_a_relative_path_is_found_from_everywhere(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = make_checkpoint()
    monkeypatch.chdir(checkpoint.parent)
    assert run(["encode", str(corpus), "--encoder", checkpoint.name, "--out", str(tmp_path / "v.arrow")]) == 0
    assert run(["index", str(corpus), "--encoder", checkpoint.name, "--out", str(tmp_path / "a")]) == 0
    monkeypatch.chdir(tmp_path)
    assert run(["index", "v.arrow", "--out", "b"]) == 0
    assert answers(tmp_path / "a") == answers(tmp_path / "b") != [[] for _ in QUERIES]


def test_encoder_settings_are_kept_with_the_collection(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["index", str(corpus), "--out", str(tmp_path / "c"), "--setting", "k1=1.2", "--setting", "b=0.75"]
    assert run(line) == 0
    with Collection.open(tmp_path / "c") as made:
        assert (made.encoder().settings["k1"], made.encoder().settings["b"]) == (1.2, 0.75)
    assert run(["index", str(corpus), "--out", str(tmp_path / "d"), "--setting", "k3=1"]) == 2
    assert "'k3'" in capfd.readouterr().err
    assert not (tmp_path / "d").exists()


def test_models_lists_what_is_known_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    encoders = {one["name"]: one for one in json.loads(capfd.readouterr().out)["encoders"]}
    assert encoders["bm25"]["here"] is True
    assert encoders["splade-v3"]["checkpoint"] == "naver/splade-v3"
