"""`--index-setting` of index and reindex, what `verify` says of the indexes, and the search parameters of `search`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from index import IndexConfig
from lsr.cli.running import run
from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.documents import Document
from lsr.errors import LsrError
from lsr.metadata import MetadataSchema
from lsr.vectors import VectorConfig, with_index_settings
from lsr.writing.load_folder import start_load

LINES = [
    {"id": f"d{n:02}", "sparse": {f"t{n % 7}": 2.0, f"t{n % 5}": 1.0, "all": 0.5}, "title": f"number {n}"}
    for n in range(60)
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "vectors.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


@pytest.fixture(scope="module")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "c"
    settings = ["n_postings=10", "exact_lists=false", "default.n_knn=2"]
    options = [part for one in settings for part in ("--index-setting", one)]
    assert run(["index", str(corpus), "--format", "vectors", "--out", str(out), *options]) == 0
    return out


def settings_of(folder: Path) -> dict[str, Any]:
    with Collection.open(folder) as collection:
        index = collection.info().vectors["default"].index
        assert index is not None
        return dict(index.settings)


def test_index_keeps_the_settings_with_the_collection(built: Path) -> None:
    assert settings_of(built) | {"n_postings": 10, "exact_lists": False, "n_knn": 2} == settings_of(built)


def test_verify_says_how_the_index_was_built(built: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(built)]) == 0
    out = capfd.readouterr().out
    assert "default: largest segment of 60 documents, " in out
    assert "concentration 0." in out
    assert "settings n_postings=10, exact_lists=False, n_knn=2" in out
    assert "candidate lists    yes  given: n_postings = 10" in out
    assert "block maxima       no   not kept" in out
    assert run(["verify", str(built), "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["indexes"]["default"]["structures"]["graph"] is True
    assert shown["indexes"]["default"]["reasons"]["unpruned_postings"] == "given: exact_lists = false"


def test_verify_of_a_collection_without_a_segment(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Collection.create(tmp_path / "c", vectors={"default": VectorConfig("bm25")}).close()
    assert run(["verify", str(tmp_path / "c")]) == 0
    assert "default: no segment yet" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("setting", "detail"),
    [
        ("n_posting=5", "did you mean n_postings"),
        ("summary_energy=0.4", "summary_lines"),
        ("n_knn=-1", "n_knn must be an integer from 0 to 1,000"),
        ("n_knn", "is not [VECTOR.]NAME=VALUE"),
        ("other.n_knn=1", "no vector 'other'"),
        ("impact_dtype=int8", "float16, float32"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], setting: str, detail: str
) -> None:
    out = tmp_path / "never"
    arguments = ["index", str(corpus), "--format", "vectors", "--out", str(out), "--index-setting", setting]
    assert run(arguments) == 2
    assert detail in capfd.readouterr().err
    assert not out.exists()


def test_reindex_builds_the_indexes_anew_and_encodes_nothing(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert run(["reindex", str(built), "--out", str(new), "--index-setting", "n_postings=0", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["copied"], report["encoded"]) == (["default"], [])
    # What is not given stays as it was.
    assert settings_of(new) == settings_of(built) | {"n_postings": 0}
    with Collection.open(new) as collection, Collection.open(built) as old:
        index = collection.info().vectors["default"].index
        assert index is not None
        assert not index.structures["candidate_lists"]
        assert collection.vector("d03") == old.vector("d03")
    refused = ["reindex", str(built), "--out", str(tmp_path / "no"), "--index-setting", "impact_dtype=float32"]
    assert run(refused) == 2
    assert "the impacts are copied as float16" in capfd.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_vector_that_is_encoded_again_keeps_its_index_settings(tmp_path: Path) -> None:
    configs = {"default": VectorConfig("bm25", index=IndexConfig(block_maxima=True))}
    with Collection.create(tmp_path / "old", vectors=configs) as collection:
        collection.write([Document("a", text="a heron by the river")])
    arguments = ["reindex", str(tmp_path / "old"), "--out", str(tmp_path / "new"), "--encoder", "bm25"]
    assert run([*arguments, "--index-setting", "doc_cut=9"]) == 0
    assert settings_of(tmp_path / "new") | {"block_maxima": True, "doc_cut": 9} == settings_of(tmp_path / "new")


def test_an_interrupted_load_goes_on_with_the_same_settings_only(corpus: Path, tmp_path: Path) -> None:
    opened = open_corpus(str(corpus), "vectors")
    configs = with_index_settings({"default": VectorConfig(None)}, {"n_postings": 10}, "setting")
    catalog, lock = start_load(tmp_path / "c", opened, configs, MetadataSchema(None), False, "auto")
    catalog.close()
    lock.release()
    catalog, lock = start_load(tmp_path / "c", opened, configs, MetadataSchema(None), True, "auto")
    catalog.close()
    lock.release()
    other = with_index_settings(configs, {"default.n_postings": 11}, "setting")
    with pytest.raises(LsrError, match="index settings"):
        start_load(tmp_path / "c", opened, other, MetadataSchema(None), True, "auto")


@pytest.mark.parametrize(
    ("options", "approximate"),
    [
        (["--n-knn", "2"], True),
        (["--query-cut", "3", "--heap-factor", "0.5"], True),
        (["--recall", "0.9"], False),
        (["--exact"], False),
    ],
)
def test_search_takes_the_search_parameters(
    built: Path, capfd: pytest.CaptureFixture[str], options: list[str], approximate: bool
) -> None:
    arguments = ["search", str(built), "--sparse", '{"t1": 1.0, "all": 1.0}', "-k", "3", "--json"]
    assert run([*arguments, *options]) == 0
    assert json.loads(capfd.readouterr().out)["approximate"] is approximate


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        (["--n-knn", "3"], "n_knn must be at most 2"),
        (["--recall", "1.5"], "recall must be above 0 and below 1"),
        (["--recall", "0.9", "--n-knn", "1"], "not both"),
        (["--heap-factor", "0"], "heap_factor must be above 0"),
    ],
)
def test_a_wrong_search_parameter_is_named(
    built: Path, capfd: pytest.CaptureFixture[str], options: list[str], detail: str
) -> None:
    assert run(["search", str(built), "--sparse", '{"t1": 1.0}', *options]) == 2
    assert detail in capfd.readouterr().err
