"""Whole runs with a tiny model: they learn, resume to the same result, stop at NaN, and report on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encoders import load_encoder
from encoders.training.checkpoint import checkpoints
from encoders.training.errors import CheckpointMismatch, TrainingDiverged, TrainingError
from lsr.cli.running import run as run_command
from lsr.training.config import TrainingConfig, parse_config
from lsr.training.context import RunContext
from lsr.training.run import Report, train

MakeCheckpoint = Callable[..., Path]

WORDS = ["heart", "attack", "vitamin", "sparse", "search", "learn"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """With models this small, threads cost more time than they save, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Killed(BaseException):
    """Stops a run in a test; no code catches it."""


@pytest.fixture(scope="module")
def backbone(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(hidden_dropout_prob=0.1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Queries whose word is in no answer: "heart" is answered by texts on "attack", and so on."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"query": f"the {WORDS[i % 6]} {i}", "text": f"{WORDS[(i + 1) % 6]} of {i + 40} and {i % 7}"} for i in range(36)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(backbone: Path, pairs: Path, **changes: Any) -> TrainingConfig:
    content: dict[str, Any] = {
        "model": {"backbone": str(backbone), "max_length": 16, "sample": 16},
        "data": [{"path": str(pairs)}],
        "negatives": {"bm25": 6, "per_query": 3},
        "loss": {"infonce": 1.0, "regulariser": "idf-flops", "document_lambda": 1e-3},
        "steps": {
            "steps": 8, "batch_size": 4, "accumulation": 2, "checkpoint_every": 3, "log_every": 1,
            "learning_rate": 3e-3, "factor_learning_rate": 1e-2, "warm_up": 0.0,
        },
    }  # fmt: skip
    for table, values in changes.items():
        content[table] = {**content.get(table, {}), **values}
    return parse_config(content)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def without_time(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "seconds"} for one in records]


def weights(report: Report) -> dict[str, torch.Tensor]:
    documents = report.model / "documents"
    return {**load_file(documents / "model.safetensors"), **load_file(documents / "term_weights.safetensors")}


def test_a_run_learns_relations_that_no_text_contains_and_its_model_loads(
    backbone: Path, pairs: Path, tmp_path: Path
) -> None:
    settings = config(backbone, pairs, model={"expansion_terms": 4}, steps={"steps": 40, "learning_rate": 1e-2})
    report = train(settings, tmp_path, RunContext(device="cpu"))
    log = lines(tmp_path)
    assert [one["step"] for one in log] == list(range(1, 41))
    losses = [one["loss_infonce"] for one in log]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    encoder = load_encoder(str(report.model), dtype="float32")
    (asked,) = encoder.vocabulary.ids(["heart"]).tolist()
    assert encoder.encode_documents(["attack of 45 and 5"])[0, asked] > 0.1
    assert report.outcome.best_step is None
    assert (tmp_path / "model" / "modules.json").exists()


def test_a_killed_run_continues_and_ends_with_the_same_result(backbone: Path, pairs: Path, tmp_path: Path) -> None:
    settings = config(backbone, pairs)
    whole = train(settings, tmp_path / "whole", RunContext(device="cpu"))

    def kill(phase: str, done: int, total: int | None) -> None:
        if phase == "steps" and done == 5:
            raise Killed

    with pytest.raises(Killed):
        train(settings, tmp_path / "killed", RunContext(device="cpu", progress=kill))
    assert [path.name for path in checkpoints(tmp_path / "killed" / "checkpoints")] == ["step-00000003"]
    (tmp_path / "killed" / "checkpoints" / ".step-00000006.partial").mkdir()
    said: list[str] = []
    resumed = train(settings, tmp_path / "killed", RunContext(device="cpu", say=said.append))
    assert "continuing after step 3" in said
    assert without_time(lines(tmp_path / "killed")) == without_time(lines(tmp_path / "whole"))
    first, second = weights(whole), weights(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(backbone: Path, pairs: Path, tmp_path: Path) -> None:
    train(config(backbone, pairs), tmp_path, RunContext(device="cpu"))
    other = config(backbone, pairs, loss={"infonce": 2.0})
    with pytest.raises(CheckpointMismatch, match="other settings or other data"):
        train(other, tmp_path, RunContext(device="cpu"))
    file = tmp_path / "checkpoints" / "step-00000008" / "parameters.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="damaged checkpoint"):
        train(config(backbone, pairs), tmp_path, RunContext(device="cpu"))


def test_a_loss_that_is_not_a_number_stops_with_the_last_good_checkpoint(
    backbone: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoders.training.objective import Objective

    original = Objective.__call__
    calls = []

    def poisoned(self: Objective, *arguments: Any) -> Any:
        loss, figures = original(self, *arguments)
        calls.append(1)
        return (loss * float("nan") if len(calls) == 10 else loss), figures

    monkeypatch.setattr(Objective, "__call__", poisoned)
    with pytest.raises(TrainingDiverged, match=r"step 5: loss nan .*last good checkpoint is .*step-00000003"):
        train(config(backbone, pairs), tmp_path, RunContext(device="cpu"))
    kept = load_file(tmp_path / "checkpoints" / "step-00000003" / "parameters.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())


def test_a_full_disk_leaves_the_earlier_checkpoints(
    backbone: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoders.training import checkpoint

    original, calls = checkpoint.save_file, []

    def full(tensors: Any, path: Path) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise OSError(28, "No space left on device", str(path))
        original(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        train(config(backbone, pairs), tmp_path, RunContext(device="cpu"))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]


def test_the_development_set_picks_the_model_and_is_judged_from_the_start(
    backbone: Path, pairs: Path, tmp_path: Path
) -> None:
    figures = iter([0.5, 0.9, 0.4])

    def evaluate(encoder: str, folder: Path, split: str, measures: tuple[str, ...]) -> dict[str, float]:
        assert (folder / "qrels" / f"{split}.tsv").exists()
        if encoder == "bm25":
            return {"nDCG@10": 0.45}
        load_encoder(encoder)
        return {"nDCG@10": next(figures)}

    settings = config(
        backbone, pairs, evaluation={"held_out": 4, "documents": 8}, steps={"evaluate_every": 4, "steps": 8}
    )
    report = train(settings, tmp_path, RunContext(device="cpu", evaluate=evaluate))
    assert (report.outcome.best_step, report.outcome.best) == (4, 0.9)
    assert report.baseline == {"held_out nDCG@10": 0.45}
    assert [one["step"] for one in lines(tmp_path) if "evaluation" in one] == [0, 4, 8]
    assert not list(tmp_path.glob(".evaluated-*"))
    best, model = (load_encoder(str(tmp_path / name)) for name in ("best", "model"))
    assert (best.encode_documents(["heart"]) != model.encode_documents(["heart"])).nnz == 0


@pytest.mark.parametrize("regulariser", ["flops", "l1", "thresholded-flops", "none"])
def test_presets_train_with_every_regulariser_and_with_teachers(
    backbone: Path, pairs: Path, tmp_path: Path, regulariser: str
) -> None:
    method = {"flops": "splade-max", "l1": "unicoil", "none": "inference-free"}.get(regulariser, "splade-doc")
    settings = config(
        backbone, pairs,
        model={"method": method, "train_queries": method == "splade-doc"},
        teachers={"sparse": ["bm25"]},
        loss={"regulariser": regulariser, "kl": 1.0, "margin_mse": 0.1, "query_lambda": 1e-3},
        steps={"steps": 2, "bf16": regulariser == "flops"},
    )  # fmt: skip
    report = train(settings, tmp_path, RunContext(device="cpu"))
    assert {"loss_kl", "loss_margin_mse", "loss_infonce"} <= set(lines(tmp_path)[0])
    assert load_encoder(str(report.model)).encode_queries(["heart attack"]).nnz > 0


def test_an_encoder_is_trained_further(backbone: Path, pairs: Path, tmp_path: Path) -> None:
    first = train(config(backbone, pairs, steps={"steps": 2}), tmp_path / "a", RunContext(device="cpu"))
    content = config(backbone, pairs, steps={"steps": 2})
    onward = parse_config(
        {
            "model": {"encoder": str(first.model)},
            "data": [{"path": str(pairs)}],
            "negatives": {"bm25": 6, "per_query": 3},
            "loss": {"infonce": 1.0},
            "steps": {"steps": content.steps.steps, "batch_size": 4},
        }
    )
    second = train(onward, tmp_path / "b", RunContext(device="cpu"))
    assert load_encoder(str(second.model)).fingerprint != load_encoder(str(first.model)).fingerprint


def test_the_command_adapts_to_a_corpus_and_reports_json(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"id": str(i), "title": f"heart search vitamin {i}", "text": f"the attack of number {i} " * 3}
        for i in range(1, 121)
    ]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("lsr.training.adaptation.HELD_OUT", (5, 20))
    monkeypatch.setattr("lsr.training.adaptation.MAX_LENGTH", 16)
    out = tmp_path / "out"
    arguments = ["train", "--corpus", str(corpus), "--backbone", str(backbone), "--out", str(out)]
    arguments += ["--steps", "1", "--device", "cpu", "--threads", "1", "--json"]
    assert run_command(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pairs"] == 100
    assert set(report["start"]) == set(report["baseline"]) == {"held_out nDCG@10"}
    assert load_encoder(report["model"]).encode_documents(["heart"]).nnz > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either CONFIG.toml or --corpus"),
        (["nowhere.toml", "--out", "o"], "nowhere.toml: No such file"),
        (["c.toml", "--corpus", "x", "--out", "o"], "either CONFIG.toml or --corpus"),
        (["c.toml"], "--out"),
        (["c.toml", "--dense", "x", "--out", "o"], "works with --corpus only"),
        (["--corpus", "x", "--backbone", "nowhere", "--out", "o"], "nowhere: there is no such folder"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_bad_line_in_the_data_stops_the_command_and_is_named(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"query": "a", "text": "b"}\n{"query": "a"}\n')
    (tmp_path / "c.toml").write_text(
        f'[model]\nbackbone = "{backbone}"\n[[data]]\npath = "pairs.jsonl"\n[loss]\ninfonce = 1\n'
    )
    assert run_command(["train", str(tmp_path / "c.toml"), "--out", str(tmp_path / "out")]) == 2
    assert "pairs.jsonl:2: the document field 'text' is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
