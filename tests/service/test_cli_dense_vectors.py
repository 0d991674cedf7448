"""Dense vectors on the command line: several vectors in one pass over a corpus, out of a collection and back in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from encoders.sides.pooled import PooledSide
from lsr.cli.running import run
from lsr.collection import Collection

DIMS = 7
TEXTS = ["heart attack", "the moon", "lobster roll", "sparse retrieval", "statins and the heart"]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents with ready-made vectors; every fourth has no dense one."""
    path = tmp_path_factory.mktemp("corpus") / "v.jsonl"
    generator = np.random.default_rng(1)
    with path.open("w") as file:
        for n in range(30):
            line: dict[str, Any] = {"id": f"d{n:02}", "text": f"text {n}", "sparse": {"all": 1.0, f"t{n % 5}": n + 1.0}}
            if n % 4:
                line["vectors"] = {"meaning": {"dense": generator.standard_normal(DIMS).tolist()}}
            file.write(json.dumps(line) + "\n")
    return path


@pytest.fixture(scope="module")
def collection(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "c"
    assert run(["index", str(vectors), "--out", str(folder), "--format", "vectors"]) == 0
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "corpus.jsonl"
    path.write_text("\n".join(json.dumps({"id": f"d{n}", "text": text}) for n, text in enumerate(TEXTS)))
    return path


def rows(folder: Path, name: str = "meaning") -> dict[str, tuple[list[int], float]]:
    """Every document's dense row as it is kept."""
    with Collection.open(folder) as collection:
        generation = collection._state.generation
        found = {}
        for document, _, _ in collection.scan():
            place = generation.find(document.id)
            assert place is not None
            steps, scale = place.dense(name)
            found[document.id] = steps.tolist(), float(scale)
        return found


def test_ready_made_dense_vectors_are_found_in_the_file(collection: Path) -> None:
    with Collection.open(collection) as opened:
        info = opened.info().vectors["meaning"]
        assert (info.kind, info.dimensions, info.encoder) == ("dense", DIMS, None)
    kept = rows(collection)
    assert len(kept) == 30
    assert [name for name, (_, scale) in kept.items() if scale == 0] == [f"d{n:02}" for n in range(0, 30, 4)]


@pytest.mark.parametrize("name", ["e.jsonl", "e.arrow"])
def test_an_export_indexes_to_the_same_dense_rows(collection: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    assert run(["export", str(collection), "--to", out.suffix[1:], "--out", str(out)]) == 0
    assert run(["index", str(out), "--out", str(tmp_path / "c"), "--format", "vectors"]) == 0
    assert rows(tmp_path / "c") == rows(collection)


@pytest.mark.parametrize(
    ("to", "has_them"), [("anserini", False), ("ciff", False), ("opensearch", True), ("qdrant", True)]
)
def test_the_formats_of_search_engines_have_the_dense_vectors(
    collection: Path, tmp_path: Path, to: str, has_them: bool
) -> None:
    assert run(["export", str(collection), "--to", to, "--out", str(tmp_path / to)]) == 0
    assert (b"meaning" in (tmp_path / to).read_bytes()) is has_them


def test_reindex_copies_the_dense_rows_as_they_are(collection: Path, tmp_path: Path) -> None:
    assert run(["reindex", str(collection), "--out", str(tmp_path / "c"), "--encoder", "bm25"]) == 0
    assert rows(tmp_path / "c") == rows(collection)
    with Collection.open(tmp_path / "c") as opened:
        assert opened.info().vectors["default"].encoder == "bm25"
        assert opened.search("text 7").hits


def test_several_vectors_are_made_in_one_pass_of_the_model(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    pooled = PooledSide.pooled
    monkeypatch.setattr(PooledSide, "pooled", lambda self, ids: read.append(len(ids)) or pooled(self, ids))
    asked = "default=lsr-mini, bm25=bm25, meaning=dense:lsr-mini, short=dense:lsr-mini"
    settings = ["--setting", "short.dimensions=64", "--setting", "bm25.k1=1.2"]
    assert run(["index", str(corpus), "--out", str(tmp_path / "c"), "--vectors", asked, *settings]) == 0
    assert sum(read) == len(TEXTS)
    with Collection.open(tmp_path / "c") as opened:
        info = opened.info().vectors
        assert {name: (one.encoder, one.kind, one.dimensions) for name, one in info.items()} == {
            "default": ("lsr-mini", "sparse", None),
            "bm25": ("bm25", "sparse", None),
            "meaning": ("lsr-mini", "dense", 384),
            "short": ("lsr-mini", "dense", 64),
        }
        assert opened.encoder("bm25").settings["k1"] == 1.2
        assert opened.search("heart", using="bm25").hits
    arrow = tmp_path / "e.arrow"
    assert run(["export", str(tmp_path / "c"), "--to", "arrow", "--out", str(arrow)]) == 0
    assert run(["index", str(arrow), "--out", str(tmp_path / "again")]) == 0
    assert sum(read) == len(TEXTS)  # nothing is encoded again
    for name in ("meaning", "short"):
        assert rows(tmp_path / "again", name) == rows(tmp_path / "c", name)
    with Collection.open(tmp_path / "again") as opened:
        assert opened.info().vectors["short"] == info["short"]
    # The other vectors stay as they are; the dense one is computed again, with fewer dimensions.
    line = ["reindex", str(tmp_path / "c"), "--out", str(tmp_path / "cut"), "--using", "meaning"]
    assert run([*line, "--encoder", "lsr-mini", "--setting", "dimensions=32"]) == 0
    with Collection.open(tmp_path / "cut") as opened:
        assert opened.info().vectors["meaning"].dimensions == 32
    assert rows(tmp_path / "cut", "short") == rows(tmp_path / "c", "short")


def test_an_arrow_file_whose_dense_encoder_is_another_one_is_refused(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = "default=bm25,meaning=dense:lsr-mini"
    assert run(["index", str(corpus), "--out", str(tmp_path / "c"), "--vectors", asked]) == 0
    arrow = tmp_path / "e.arrow"
    assert run(["export", str(tmp_path / "c"), "--to", "arrow", "--out", str(arrow)]) == 0
    with pa.ipc.open_file(str(arrow)) as reader:
        table = reader.read_all()
    notes = dict(table.schema.metadata)
    noted = json.loads(notes[b"lsr.dense"])
    noted["meaning"]["fingerprint"] = "another"
    table = table.replace_schema_metadata({**notes, b"lsr.dense": json.dumps(noted).encode()})
    with pa.OSFile(str(arrow), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    capfd.readouterr()
    assert run(["index", str(arrow), "--out", str(tmp_path / "d")]) == 1
    assert "the dense vectors of" in capfd.readouterr().err
    table = table.replace_schema_metadata({**notes, b"lsr.dense": b"[1]"})
    with pa.OSFile(str(arrow), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert run(["index", str(arrow), "--out", str(tmp_path / "d")]) == 2
    assert "dense vectors in the schema" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vectors", "default=bm25", "--encoder", "bm25"], "not both"),
        (["--vectors", "default"], "NAME=ENCODER"),
        (["--vectors", "default=bm25,"], "NAME=ENCODER"),
        (["--vectors", "a=bm25,a=bm25"], "given twice"),
        (["--vectors", "default=bm25", "--setting", "k1=1"], "NAME.KEY"),
        (["--vectors", "default=bm25", "--setting", "other.k1=1"], "NAME.KEY"),
        (["--vectors", "meaning=dense:lsr-mini"], "sparse vector at least"),
        (["--vectors", "default=bm25,m=dense:bm25"], "no dense vectors"),
        (["--vectors", "default=bm25,m=dense"], "vectors.m.dimensions"),
        (["--vectors", "default=bm25,m=dense:lsr-mini", "--setting", "m.dimensions=999"], "has 384"),
    ],
)
def test_vectors_that_make_no_sense_are_a_usage_error(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["index", str(corpus), "--out", str(tmp_path / "c"), *arguments]) == 2
    assert message in " ".join(capfd.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "c").exists()


def test_a_line_with_a_dense_vector_of_another_length_is_told_and_left_out(
    vectors: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    extra = {"id": "bad", "sparse": {"all": 1}, "vectors": {"meaning": {"dense": [1.0] * (DIMS + 1)}}}
    bad.write_text(vectors.read_text() + json.dumps(extra) + "\n")
    line = [
        "index",
        str(bad),
        "--out",
        str(tmp_path / "c"),
        "--format",
        "vectors",
        "--vectors",
        "default=none,meaning=dense",
    ]
    assert run(line) == 4
    err = capfd.readouterr().err
    assert "vectors.meaning.dense" in err
    assert "8 numbers instead of 7" in err
    with Collection.open(tmp_path / "c") as opened:
        assert opened.info().documents == 30
