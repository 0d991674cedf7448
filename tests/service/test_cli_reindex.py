"""`lsr reindex --add`: a vector more, a comparison of both, an alias that moves and goes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from math import log2
from pathlib import Path
from typing import Any

import pytest

import lsr.cli.reindex
from lsr.cli.running import run
from lsr.collection import Collection
from lsr.comparing import QueryText, compare_searches, read_queries
from lsr.documents import Document
from lsr.errors import CorpusUnreadable
from lsr.storage.alias_file import Alias, AliasFile
from lsr.vectors import VectorConfig

WORDS = ["lobster", "roll", "butter", "bread", "egg", "cabbage", "herring", "shrimp", "dill", "rye", "onion", "caper"]
DOCUMENTS = [
    Document(f"d{n:02}", title=WORDS[n % 12], text=" ".join(WORDS[(n * step) % 12] for step in range(1, 4 + n % 7)))
    for n in range(40)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "v1", vectors={"default": VectorConfig("bm25")}) as collection:
        collection.write(DOCUMENTS)
        collection.seal()
    return tmp_path


def command(folder: Path, *more: str) -> list[str]:
    return ["reindex", str(folder / "v1"), "--out", str(folder / "v2"), *more]


def shown(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


ADD = [
    "--add",
    "short=bm25",
    "--setting",
    "short.b=0",
    "--setting",
    "short.k1=0.1",
    "--search",
    '{"queries":[{"using":"short"}]}',
]


def test_an_alias_moves_after_the_comparison_and_goes_back(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    aliases = AliasFile(folder)
    aliases.point("live", "v1")
    assert run(command(folder, *ADD, "--alias", "live", "--yes", "--json")) == 0
    found = shown(capfd)
    assert (found["copied"], found["encoded"], found["accepted"]) == (["default"], ["short"], 40)
    assert found["alias"] == {"alias": "live", "collection": "v2", "previous": "v1"}
    comparison = found["comparison"]
    assert comparison["queries"] == 12  # the distinct titles
    assert 0 < comparison["overlap"] <= 1
    assert comparison["p50_ms"]["old"] > 0
    assert run(["alias", str(folder), "live", "--back"]) == 0
    assert aliases.read() == {"live": Alias("v1", "v2")}


def test_titles_of_equal_collections_do_not_differ(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(command(folder, "--add", "more=bm25", "--compare", "titles")) == 0
    out = capfd.readouterr().out
    assert "40 documents" in out
    assert "in both           100.0%" in out
    assert "mean rank shift   0.00" in out
    assert "differ most" not in out


def test_judged_queries_are_measured_in_both(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    texts = {"q1": "lobster roll", "q2": "rye bread", "q3": "egg dill onion", "unjudged": "caper"}
    (folder / "queries.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in texts.items()))
    with Collection.open(folder / "v1") as collection:
        third = {name: collection.search(text).hits[2].id for name, text in texts.items() if name != "unjudged"}
    (folder / "qrels.tsv").write_text("".join(f"{name} 0 {doc} 1\n" for name, doc in third.items()))
    files = ["--compare", str(folder / "queries.tsv"), "--qrels", str(folder / "qrels.tsv")]
    assert run(command(folder, *ADD, *files, "--json")) == 0
    comparison = shown(capfd)["comparison"]
    quality = comparison["quality"]
    assert (comparison["queries"], quality["queries"]) == (4, 3)
    with Collection.open(folder / "v2") as collection:
        ids = {name: [hit.id for hit in collection.search(texts[name]).hits] for name in third}
    gains = [1 / log2(ids[name].index(doc) + 2) if doc in ids[name] else 0.0 for name, doc in third.items()]
    assert quality["nDCG@10"] == {"old": pytest.approx(1 / log2(4)), "new": pytest.approx(sum(gains) / 3)}
    assert quality["difference"] == pytest.approx(sum(gains) / 3 - 0.5)
    assert 0 < quality["p_randomisation"] <= 1
    assert comparison["most_different"][0]["overlap"] <= comparison["most_different"][-1]["overlap"]
    assert len(comparison["most_different"][0]["old"]) == 3
    # Without ids nothing can be judged.
    (folder / "plain").write_text("lobster roll\n")
    again = command(folder, *ADD, "--compare", str(folder / "plain"), "--qrels", str(folder / "qrels.tsv"), "--resume")
    assert run(again) == 2
    assert "judges none of the queries" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        (["--add", "short"], "is not NAME=ENCODER"),
        (["--add", "a=bm25", "--add", "a=bm25"], "given twice"),
        (["--add", "default=bm25"], "there is a vector 'default' already"),
        (["--add", "m=dense:bm25"], "bm25 has no dense vectors"),
        (["--add", "m=no-such-model"], "no-such-model"),
        (["--add", "a=bm25", "--setting", "k1=1"], "of which vector? a.k1"),
        (["--add", "a=bm25", "--setting", "b.k1=1"], "b is not an added vector"),
        (["--add", "a=bm25", "--search", "pipeline"], "the pipeline needs"),
        (["--add", "a=bm25", "--qrels", "x"], "judgements need their queries"),
        (["--add", "a=bm25", "--alias", "live"], "no terminal"),
        (["--add", "a=bm25", "--alias", "v1", "--yes"], "name of a collection"),
        (["--add", "a=bm25", "--alias", "v2", "--yes"], "name of a collection"),
        (["--add", "a=bm25", "--alias", "A", "--yes"], "not a collection name"),
        (["--remove", "default"], "sparse vector at least"),
        (["--add", "a=bm25", "--compare", "/no/such/file"], "No such file"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_encoded(
    folder: Path, capfd: pytest.CaptureFixture[str], more: list[str], detail: str
) -> None:
    assert run(command(folder, *more)) == 2
    assert detail in capfd.readouterr().err
    assert not (folder / "v2").exists()


def test_an_alias_is_for_one_folder(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = [
        "reindex",
        str(folder / "v1"),
        "--out",
        str(folder / "x" / "v2"),
        "--add",
        "a=bm25",
        "--alias",
        "b",
        "--yes",
    ]
    assert run(line) == 2
    assert "of one folder" in capfd.readouterr().err


def test_an_alias_stays_when_the_collection_was_written_to_meanwhile(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    AliasFile(folder).point("live", "v1")
    report = lsr.cli.reindex._print_report

    def write_then_report(*arguments: Any) -> None:
        with Collection.open(folder / "v1", "w") as old:
            old.write([Document("late", text="lobster")])
        report(*arguments)

    monkeypatch.setattr(lsr.cli.reindex, "_print_report", write_then_report)
    assert run(command(folder, *ADD, "--alias", "live", "--yes")) == 1
    err = capfd.readouterr().err
    assert "has changed since it was read" in err
    assert f"lsr alias {folder.resolve()} live v2" in err
    assert AliasFile(folder).read() == {"live": Alias("v1")}


@pytest.mark.parametrize(("answer", "code", "target"), [("y\n", 0, "v2"), ("n\n", 1, "v1")])
def test_on_a_terminal_it_asks_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, target: str
) -> None:
    AliasFile(folder).point("live", "v1")
    asked: list[str] = []

    def confirm(text: str) -> bool:
        asked.append(text)
        return answer == "y\n"

    monkeypatch.setattr("lsr.cli.reindex.on_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", confirm)
    assert run(command(folder, *ADD, "--alias", "live")) == code
    assert asked == ["live: v1 -> v2?"]
    assert AliasFile(folder).read()["live"].collection == target


def test_a_killed_run_is_resumed_with_the_same_result(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, signal, sys\n"
        "from lsr.writing import bulk_load\n"
        "bulk_load.BATCH_LINES, bulk_load.SEGMENT_DOCUMENTS = 4, 8\n"
        "closed = bulk_load._Load._close_segment\n"
        "def close(self, writer, *, last):\n"
        "    if len(self._segments) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    closed(self, writer, last=last)\n"
        "bulk_load._Load._close_segment = close\n"
        "from lsr.cli.running import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, *command(folder, *ADD)], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert run(command(folder, *ADD)) == 2  # it is there already, unfinished
    assert run(command(folder, *ADD, "--resume")) == 0
    assert run(["reindex", str(folder / "v1"), "--out", str(folder / "whole"), *ADD]) == 0
    queries = [QueryText(None, text) for text in ("lobster roll", "rye bread", "egg dill onion", "caper")]
    with Collection.open(folder / "whole") as whole, Collection.open(folder / "v2") as resumed:
        assert resumed.info().segments > 2
        compared = compare_searches(whole, resumed, queries)
    assert compared is not None
    assert [one.old for one in compared.queries] == [one.new for one in compared.queries]
    assert run(["verify", str(folder / "v2")]) == 0


def test_how_overlap_and_rank_shift_are_counted(tmp_path: Path) -> None:
    texts = {"a": "roll roll roll", "b": "roll roll x", "c": "roll x x", "d": "x x x"}
    for name, ids in (("one", "abc"), ("other", "acd")):
        with Collection.create(tmp_path / name, vectors={"default": VectorConfig("bm25")}) as collection:
            collection.write([Document(one, text=texts[one]) for one in ids])
    with Collection.open(tmp_path / "one") as one, Collection.open(tmp_path / "other") as other:
        compared = compare_searches(one, other, [QueryText("q", "roll"), QueryText(None, "nothing")])
    assert compared is not None
    first, second = compared.queries
    assert [hit.id for hit in first.old] == ["a", "b", "c"]
    assert [hit.id for hit in first.new] == ["a", "c"]
    assert (first.overlap, first.rank_shift) == (2 / 3, 0.5)  # c is third, then second
    assert (second.overlap, second.rank_shift) == (1.0, None)
    assert (compared.overlap, compared.rank_shift) == (pytest.approx(5 / 6), 0.5)
    assert compared.most_different() == [first]


@pytest.fixture
def query_file(tmp_path: Path) -> Path:
    return tmp_path / "queries"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"_id": 7, "text": "a b"}\n\n{"text": "c"}\n', [QueryText("7", "a b"), QueryText(None, "c")]),
        ("1\ta b\n2\tc\n", [QueryText("1", "a b"), QueryText("2", "c")]),
        ("a b\n c \n", [QueryText(None, "a b"), QueryText(None, "c")]),
    ],
)
def test_queries_are_read_in_three_forms(query_file: Path, content: str, expected: list[QueryText]) -> None:
    query_file.write_text(content)
    assert read_queries(query_file) == expected


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "holds no query"),
        (b'{"text": "a"}\n{"text": 1}\n', ":2: "),
        (b'{"text": "a"}\n{"text\n', ":2: "),
        (b"1\ta\nb\n", ":2: "),
        (b"\xff\xfe", "queries: "),
    ],
)
def test_a_bad_line_of_queries_is_named(query_file: Path, content: bytes, where: str) -> None:
    query_file.write_bytes(content)
    with pytest.raises(CorpusUnreadable, match=where):
        read_queries(query_file)
