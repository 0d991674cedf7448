"""The precision of a model: chosen by a setting, refused where nothing computes, and stated with every figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encoders import SettingError, load_dense_with_settings, load_encoder, load_with_settings
from eval import SearchSettings
from eval.pipelines import PipelineSystem
from eval.systems import CollectionSystem
from lsr import shared_encoders
from lsr.cli.running import run
from lsr.collection import Collection
from lsr.documents import Document
from lsr.vectors import VectorConfig

DTYPES = ["float32", "bfloat16", "float16"]
TEXTS = ["Heart attacks and statins.", "Craters on the moon.", "A survey of sensitive questions."]


@pytest.fixture(scope="module")
def model(make_checkpoint: Callable[..., Path]) -> str:
    return str(make_checkpoint())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A BEIR folder."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    lines = [{"_id": str(i), "title": "", "text": text} for i, text in enumerate(TEXTS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "heart"}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t0\t1\n")
    return folder


def index(corpus: Path, out: Path, *options: str) -> int:
    return run(["index", str(corpus), "--out", str(out), *options])


def dtypes(folder: Path) -> tuple[str, ...]:
    with Collection.open(folder) as collection:
        return collection.info().vectors["default"].dtypes


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_setting_chooses_the_precision_and_the_collection_keeps_both(
    model: str, corpus: Path, tmp_path: Path, dtype: str
) -> None:
    assert index(corpus, tmp_path / "c", "--encoder", model, "--setting", f"dtype={dtype}") == 0
    assert dtypes(tmp_path / "c") == (dtype,)
    with Collection.open(tmp_path / "c", "w") as collection:
        stored = collection.vector("0")
        collection.write([Document("again", text=TEXTS[0])])  # in the precision that was chosen then
        assert collection.encoder().dtype == dtype
        assert collection.vector("again") == stored
    encoder = load_encoder(model, dtype=dtype)
    assert encoder.settings == {"dtype": dtype}
    row = encoder.encode_documents([TEXTS[0]])
    weights = dict(zip(encoder.vocabulary.tokens(row.indices), row.data.tolist(), strict=True))
    assert stored is not None
    # As the collection keeps them: float16, summed in another order than in a batch.
    assert stored == pytest.approx({token: weight for token, weight in weights.items() if token in stored}, rel=2e-2)


def test_precisions_differ_and_share_a_fingerprint(model: str) -> None:
    exact, rounded = (load_encoder(model, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert exact.fingerprint == rounded.fingerprint
    assert abs(exact.encode_documents(TEXTS) - rounded.encode_documents(TEXTS)).max() > 1e-4


def test_a_collection_that_two_processors_wrote_names_both_precisions(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoders.compute import device

    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig(model)}) as collection:
        for number, (has_bfloat16, dtype) in enumerate(((True, "bfloat16"), (False, "float32"))):
            monkeypatch.setattr(device, "cpu_multiplies_bfloat16", lambda has=has_bfloat16: has)
            monkeypatch.setattr(collection._state.vectors["default"], "_encoder", None)
            shared_encoders._by_files.clear()  # another processor is another process
            shared_encoders._by_fingerprint.clear()
            collection.write([Document(str(number), text=TEXTS[number])])
            assert collection.encoder().dtype == dtype
    with Collection.open(tmp_path / "c") as collection:
        assert collection.info().vectors["default"].dtypes == ("bfloat16", "float32")
        assert CollectionSystem(collection, SearchSettings()).settings["dtype"] == "bfloat16, float32"


def test_a_collection_made_before_precisions_were_kept_opens(model: str, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig(model)}) as collection:
        setting = collection._state.vectors["default"].setting()
        del setting["dtypes"]
        with collection._state.catalog.transaction() as change:
            change.set_setting("vectors", {"default": setting})
    assert dtypes(tmp_path / "c") == ()


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("bm25", "bm25 has no dtype"),
        (None, "'dtype' is a setting of an encoder, and these vectors are given ready-made"),
    ],
)
def test_a_precision_is_refused_where_nothing_computes(tmp_path: Path, encoder: str | None, message: str) -> None:
    for dtype in ("float32", "auto"):
        with pytest.raises(SettingError, match=message):
            Collection.create(tmp_path / "c", vectors={"default": VectorConfig(encoder, {"dtype": dtype})})
    assert not (tmp_path / "c").exists()


def test_a_precision_is_refused_on_the_command_line_too(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    vectors = tmp_path / "v.jsonl"
    vectors.write_text('{"id": "a", "sparse": {"heart": 1.5}}\n')
    for source, options, message in (
        (corpus, ["--encoder", "bm25"], "bm25 has no dtype"),
        (vectors, ["--format", "vectors"], "these vectors are given ready-made"),
    ):
        assert index(source, tmp_path / "c", *options, "--setting", "dtype=float32") == 2
        assert message in capfd.readouterr().err
    assert (
        run(["encode", str(corpus), "--out", str(tmp_path / "e"), "--encoder", "bm25", "--setting", "dtype=auto"]) == 2
    )
    assert run(["eval", "--dataset", str(corpus), "--encoder", "bm25", "--setting", "dtype=float32"]) == 2


def test_a_precision_is_refused_where_queries_and_documents_are_looked_up(model: str) -> None:
    with pytest.raises(SettingError, match="has no model with a choice of precision"):
        load_encoder(model, dtype="float32", family="static")


@pytest.mark.parametrize("value", ["int8", 16, None, ["float32"]])
def test_a_precision_that_does_not_exist(model: str, corpus: Path, tmp_path: Path, value: Any) -> None:
    option = f"dtype={value if isinstance(value, str) else json.dumps(value)}"
    if value is None:  # null: not chosen
        assert index(corpus, tmp_path / "c", "--encoder", model, "--setting", option) == 0
        return
    assert index(corpus, tmp_path / "c", "--encoder", model, "--setting", option) == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("setting", ["device", "allow_remote_code", "name_or_path"])
def test_settings_choose_no_device_and_run_no_code(model: str, corpus: Path, tmp_path: Path, setting: str) -> None:
    for load in (load_with_settings, load_dense_with_settings):
        with pytest.raises(SettingError, match=f"'{setting}' is not a setting of an encoder"):
            load(model, {setting: "cpu"})
    assert index(corpus, tmp_path / "c", "--encoder", model, "--setting", f"{setting}=true") == 2


def test_a_file_of_vectors_remembers_the_precision(
    model: str, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    vectors = str(tmp_path / "v.arrow")
    assert run(["encode", str(corpus), "--out", vectors, "--encoder", model, "--setting", "dtype=bfloat16"]) == 0
    assert index(Path(vectors), tmp_path / "c") == 0
    assert dtypes(tmp_path / "c") == ("bfloat16",)
    with Collection.open(tmp_path / "c") as collection:
        assert collection.encoder().settings == {"dtype": "bfloat16"}
    capfd.readouterr()
    assert index(Path(vectors), tmp_path / "d", "--setting", "dtype=float32") == 2
    assert "made in bfloat16; dtype cannot change that" in capfd.readouterr().err
    again = tmp_path / "again.arrow"
    assert run(["export", str(tmp_path / "c"), "--to", "arrow", "--out", str(again)]) == 0
    assert index(again, tmp_path / "e") == 0
    assert dtypes(tmp_path / "e") == ("bfloat16",)


def test_reindexing_chooses_another_precision_and_keeps_that_of_copied_vectors(model: str, tmp_path: Path) -> None:
    configs = {name: VectorConfig(model, {"dtype": "float32"}) for name in ("one", "two")}
    with Collection.create(tmp_path / "c", vectors=configs) as collection:
        collection.write([Document("a", text=TEXTS[0])])
    line = ["reindex", str(tmp_path / "c"), "--out", str(tmp_path / "d"), "--using", "one", "--encoder", model]
    assert run([*line, "--setting", "dtype=bfloat16"]) == 0
    with Collection.open(tmp_path / "d") as collection:
        vectors = collection.info().vectors
        assert {name: vector.dtypes for name, vector in vectors.items()} == {"one": ("bfloat16",), "two": ("float32",)}


def test_a_load_goes_on_with_the_settings_it_was_begun_with(
    model: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from lsr.writing import bulk_load

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bulk_load._Load, "_close_segment", stop)
        assert index(corpus, tmp_path / "c", "--encoder", model, "--setting", "dtype=float32") == 130
    assert index(corpus, tmp_path / "c", "--encoder", model, "--setting", "dtype=bfloat16", "--resume") == 1
    assert "was started with dtype = 'float32', not 'bfloat16'" in capfd.readouterr().err
    assert index(corpus, tmp_path / "c", "--encoder", model, "--setting", "dtype=float32", "--resume") == 0
    assert dtypes(tmp_path / "c") == ("float32",)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_results_cell_states_the_precision_that_ran(
    model: str, corpus: Path, tmp_path: Path, dtype: str, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["eval", "--dataset", str(corpus), "--results", str(tmp_path / "results"), "--encoder"]
    assert run([*line, model, "--setting", f"dtype={dtype}", "--name", "model"]) == 0
    assert run([*line, "bm25", "--name", "bm25"]) == 0
    cells = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json")}
    settings = {cell["system"]["name"]: cell["system"]["settings"] for cell in cells.values()}
    assert settings["model"]["dtype"] == dtype
    assert "query_dtype" not in settings["model"]
    assert "dtype" not in settings["bm25"]
    # A result in another precision does not take its place without a word.
    other = "float32" if dtype != "float32" else "bfloat16"
    capfd.readouterr()
    assert run([*line, model, "--setting", f"dtype={other}", "--name", "model"]) == 2
    assert "other settings" in capfd.readouterr().err


def test_a_result_of_queries_in_another_precision_states_both(model: str, tmp_path: Path) -> None:
    with Collection.create(
        tmp_path / "c", vectors={"default": VectorConfig(model, {"dtype": "float32"})}
    ) as collection:
        collection.write([Document("a", text=TEXTS[0])])
        setting = collection._state.vectors["default"].setting()
        with collection._state.catalog.transaction() as change:
            change.set_setting("vectors", {"default": setting | {"settings": {"dtype": "bfloat16"}}})
    with Collection.open(tmp_path / "c") as collection:
        system = CollectionSystem(collection, SearchSettings())
        collection.search("heart")
        assert (system.settings["dtype"], system.settings["query_dtype"]) == ("float32", "bfloat16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dense_vectors_and_pipelines_state_their_precision_too(tmp_path: Path, dtype: str) -> None:
    settings = {"dtype": dtype}
    configs = {"default": VectorConfig("lsr-mini", settings), "meaning": VectorConfig("lsr-mini", settings, dense=True)}
    with Collection.create(tmp_path / "c", vectors=configs) as collection:
        collection.write([Document("a", text=TEXTS[0])])
    pipeline = {
        "queries": [{"using": "default"}],
        "method": "scaled",
        "weights": [1],
        "rescore": {"using": "meaning", "candidates": 10, "weight": 1},
    }
    with Collection.open(tmp_path / "c") as collection:
        assert {name: one.dtypes for name, one in collection.info().vectors.items()} == {
            "default": (dtype,), "meaning": (dtype,)
        }  # fmt: skip
        vectors = PipelineSystem(collection, SearchSettings(pipeline=pipeline)).settings["vectors"]
    assert [vectors[name]["dtype"] for name in ("default", "meaning")] == [dtype, dtype]
