"""ONNX exports with the pooling inside: both forms of output, and refused graphs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoTokenizer

from encoders import CheckpointError, SettingError, load_encoder

MakeCheckpoint = Callable[..., Path]
TEXTS = ["the heart attack", "", "sparse retrieval of vitamin c " * 3, "[SEP] é"]
OUTSIDE = -1e4  # added to the votes of padding


@pytest.fixture
def folder(make_checkpoint: MakeCheckpoint) -> Path:
    """A tokenizer without a model."""
    made = make_checkpoint()
    for file in ("model.safetensors", "config.json"):
        (made / file).unlink()
    return made


@pytest.fixture
def table(folder: Path) -> np.ndarray[Any, Any]:
    """The vote of each token for each term, float32 [terms, terms]."""
    n_terms = len(AutoTokenizer.from_pretrained(folder))
    return np.random.default_rng(0).normal(size=(n_terms, n_terms)).astype(np.float32)


def write_graph(path: Path, table: np.ndarray[Any, Any], form: str) -> None:
    """Write log1p(relu(max over positions of table[token])) as a graph that ends in `form`."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["logits"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "mask"], ["padding"]),
        helper.make_node("Mul", ["padding", "outside"], ["penalty"]),
        helper.make_node("Unsqueeze", ["penalty", "last"], ["penalties"]),
        helper.make_node("Add", ["logits", "penalties"], ["votes"]),
        helper.make_node("ReduceMax", ["votes", "middle"], ["best"], keepdims=0),
        helper.make_node("Relu", ["best"], ["positive"]),
        helper.make_node("Add", ["positive", "one"], ["above_one"]),
        helper.make_node("Log", ["above_one"], ["weights"]),
        helper.make_node("Squeeze", ["weights", "first"], ["row"]),
        helper.make_node("NonZero", ["row"], ["places"]),
        helper.make_node("Squeeze", ["places", "first"], ["output_idx"]),
        helper.make_node("Gather", ["row", "output_idx"], ["output_weights"]),
    ]
    constants = {
        "table": table,
        "one": np.float32(1.0),
        "outside": np.float32(OUTSIDE),
        "first": np.array([0]),
        "middle": np.array([1]),
        "last": np.array([2]),
    }
    outputs = {
        "dense": [("weights", TensorProto.FLOAT, ["texts", table.shape[1]])],
        "sparse": [("output_idx", TensorProto.INT64, ["n"]), ("output_weights", TensorProto.FLOAT, ["n"])],
        "logits": [("logits", TensorProto.FLOAT, ["texts", "length", table.shape[1]])],
    }[form]
    wanted = nodes[:1] if form == "logits" else nodes[:10] if form == "dense" else nodes
    graph = helper.make_graph(
        wanted,
        "splade",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "length"])
         for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path)


@pytest.mark.parametrize(("form", "file"), [("dense", "model.onnx"), ("sparse", "onnx/splade.onnx")])
def test_a_graph_with_the_pooling_inside_is_loaded(
    folder: Path, table: np.ndarray[Any, Any], form: str, file: str
) -> None:
    write_graph(folder / file, table, form)
    encoder = load_encoder(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text, truncation=True, max_length=32)["input_ids"] for text in TEXTS]
    expected = np.stack([np.log1p(np.maximum(table[one].max(axis=0), 0)) for one in ids])
    for encode in (encoder.encode_documents, encoder.encode_queries):
        assert np.abs(encode(TEXTS).toarray() - expected).max() < 1e-5
    special = sorted(tokenizer.all_special_ids)
    without = load_encoder(str(folder), zero_special_ids=True, max_active_dims=5)
    found = without.encode_documents(TEXTS).toarray()
    assert (found[:, special] == 0).all()
    assert ((found > 0).sum(axis=1) == 5).all()
    assert without.fingerprint != encoder.fingerprint


def test_another_graph_is_another_fingerprint(folder: Path, table: np.ndarray[Any, Any]) -> None:
    prints = []
    for scale in (1.0, 2.0):
        write_graph(folder / "model.onnx", table * np.float32(scale), "dense")
        prints.append(load_encoder(str(folder)).fingerprint)
    assert prints[0] != prints[1]


def test_what_the_graph_decides_cannot_be_set(folder: Path, table: np.ndarray[Any, Any]) -> None:
    write_graph(folder / "model.onnx", table, "dense")
    with pytest.raises(SettingError, match="activation is part of the ONNX graph"):
        load_encoder(str(folder), activation="relu")


def test_unsupported_graphs_are_refused_by_name(folder: Path, table: np.ndarray[Any, Any]) -> None:
    graph = folder / "model.onnx"
    write_graph(graph, table, "logits")
    with pytest.raises(CheckpointError, match=r"logits \['texts', 'length', \d+\]\) are not pooled weights"):
        load_encoder(str(folder))
    write_graph(graph, table[:, :40], "dense")
    with pytest.raises(CheckpointError, match="tokenizer and weights do not fit"):
        load_encoder(str(folder))
    graph.write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot be read"):
        load_encoder(str(folder))
    write_graph(folder / "onnx" / "model_quantized.onnx", table, "dense")
    with pytest.raises(CheckpointError, match=r"several ONNX graphs \(model\.onnx, onnx/model_quantized\.onnx\)"):
        load_encoder(str(folder))


def test_without_onnxruntime_the_error_says_what_to_install(
    folder: Path, table: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_graph(folder / "model.onnx", table, "dense")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match=r"pip install 'lsr\[onnx\]'"):
        load_encoder(str(folder))
