"""Every weight is the one that sentence-transformers gives, on checkpoints of each layout it knows, made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import (
    MLMTransformer,
    Router,
    SparseAutoEncoder,
    SparseStaticEmbedding,
    SpladePooling,
    Transformer,
)

from encoders import CheckpointError, load_encoder

MakeCheckpoint = Callable[..., Path]

# What breaks tokenizers and batching: empty, long, special tokens spelled out, emoji, CJK, NUL, odd white space.
TEXTS = [
    "sparse retrieval of the heart",
    "",
    " ",
    "learned " * 100,
    " ".join("abcdefghijklmnopqrstuvwxyz0123456789"),
    "[CLS] the [SEP] heart [MASK] attack",
    "vitamin 😀 日本語 é\u0301",
    "nul\x00byte\tand\u00a0space\u200b",
    "Heart ATTACK!!! don't",
    "x",
]
# In a padded batch the reference's static weights lose a spelled-out padding token; alone they keep it.
ONLY_ALONE = ["the [PAD] heart"]


def assert_equal_to_reference(folder: Path, **settings: Any) -> None:
    """Compare both sides, texts alone and together, every weight above 1e-4 within 1e-5."""
    reference = SparseEncoder(str(folder))
    encoder = load_encoder(str(folder), dtype="float32", device="cpu", **settings)
    sides = ((encoder.encode_documents, reference.encode_document), (encoder.encode_queries, reference.encode_query))
    for encode, refer in sides:
        together = refer(TEXTS, convert_to_sparse_tensor=False, show_progress_bar=False).numpy()
        assert (together > 1e-4).sum() > 2 * len(TEXTS)
        ours = encode(TEXTS).toarray()
        assert np.abs(ours - together).max() < 1e-5
        for text in TEXTS + ONLY_ALONE:
            alone = refer([text], convert_to_sparse_tensor=False, show_progress_bar=False).numpy()[0]
            assert np.abs(encode([text]).toarray()[0] - alone).max() < 1e-5, text


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "modernbert"])
def test_plain_checkpoints_of_four_architectures(make_checkpoint: MakeCheckpoint, architecture: str) -> None:
    assert_equal_to_reference(make_checkpoint(architecture))


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_one_pipeline_with_each_pooling_and_activation(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, pooling: Any, activation: Any
) -> None:
    transformer = Transformer(str(make_checkpoint()), transformer_task="fill-mask")
    splade = SpladePooling(pooling_strategy=pooling, activation_function=activation)
    SparseEncoder(modules=[transformer, splade]).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)


def test_prompts_and_max_active_dims_and_a_shorter_length(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    transformer = Transformer(
        str(make_checkpoint()), transformer_task="fill-mask", max_seq_length=12, query_length=6, do_lower_case=True
    )
    SparseEncoder(
        modules=[transformer, SpladePooling()], max_active_dims=9, prompts={"query": "heart: ", "passage": "the "}
    ).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)


def test_a_router_with_learned_query_weights(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:

    transformer = Transformer(str(make_checkpoint("distilbert")), transformer_task="fill-mask")
    weight = torch.rand(len(transformer.tokenizer.get_vocab()))
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(transformer.tokenizer, weight=weight)],
        document_modules=[transformer, SpladePooling(activation_function="log1p_relu")],
    )
    SparseEncoder(modules=[router]).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)


def test_a_router_with_two_models(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    sides = [
        [Transformer(str(make_checkpoint(seed=seed)), transformer_task="fill-mask"), SpladePooling()] for seed in (1, 2)
    ]
    router = Router.for_query_document(query_modules=sides[0], document_modules=sides[1])
    SparseEncoder(modules=[router]).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)


def test_old_names_of_modules_and_files(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    transformer = MLMTransformer(str(make_checkpoint()))
    static = SparseStaticEmbedding(transformer.tokenizer)
    router = Router.for_query_document(query_modules=[static], document_modules=[transformer, SpladePooling()])
    SparseEncoder(modules=[router]).save(str(tmp_path))
    modules = tmp_path / "modules.json"
    modules.write_text(
        modules.read_text()
        .replace("base.modules.router.Router", "sparse_encoder.models.Router.Asym")
        .replace("sentence_transformers.sparse_encoder.models.Router.Asym", "sentence_transformers.models.Asym")
    )
    config = (tmp_path / "router_config.json").read_text()
    for new, old in [
        ("sparse_encoder.modules.sparse_static_embedding", "sparse_encoder.models"),
        ("sparse_encoder.modules.mlm_transformer", "sparse_encoder.models"),
        ("sparse_encoder.modules.splade_pooling", "sparse_encoder.models"),
    ]:
        assert new in config
        config = config.replace(new, old)
    (tmp_path / "router_config.json").unlink()
    (tmp_path / "config.json").write_text(config)
    assert_equal_to_reference(tmp_path)


def test_idf_weights_from_json(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    transformer = Transformer(str(make_checkpoint()), transformer_task="fill-mask")
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(transformer.tokenizer, frozen=True)],
        document_modules=[transformer, SpladePooling(activation_function="log1p_relu")],
    )
    SparseEncoder(modules=[router]).save(str(tmp_path))
    folder = tmp_path / "query_0_SparseStaticEmbedding"
    idf = {token: 0.1 + 0.01 * number for token, number in transformer.tokenizer.get_vocab().items()}
    (folder / "idf.json").write_text(json.dumps(idf))
    (folder / "model.safetensors").unlink()
    # sentence-transformers takes the path as it stands, from the working directory; here it stays in the folder.
    (folder / "config.json").write_text(json.dumps({"frozen": True, "path": str(folder / "idf.json")}))
    reference = SparseEncoder(str(tmp_path)).encode_query(TEXTS, convert_to_sparse_tensor=False).numpy()
    (folder / "config.json").write_text(json.dumps({"frozen": True, "path": "idf.json"}))
    ours = load_encoder(str(tmp_path)).encode_queries(TEXTS).toarray()
    assert np.abs(ours - reference).max() < 1e-6
    assert (ours > 0).sum() > 20


@pytest.mark.parametrize("mode", ["mean", "max", "cls"])
@pytest.mark.parametrize("normalised", [False, True])
def test_a_dense_model_with_a_sparse_autoencoder(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, mode: Any, normalised: bool
) -> None:
    torch.manual_seed(1)
    transformer = Transformer(str(make_checkpoint(seed=3)))
    autoencoder = SparseAutoEncoder(input_dim=32, hidden_dim=96, k=7, k_aux=4, normalize=normalised)
    with torch.no_grad():
        autoencoder.pre_bias.normal_(std=0.2)
        autoencoder.latent_bias.normal_(std=0.1)
    modules = [transformer, Pooling(32, pooling_mode=mode), *([Normalize()] if normalised else []), autoencoder]
    SparseEncoder(modules=modules).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)
    encoder = load_encoder(str(tmp_path), dtype="float32")
    assert len(encoder.vocabulary) == 96
    assert encoder.encode_documents(["heart"]).nnz <= 7
    # No latent is a token, whatever their numbers.
    assert encoder.input_term_ids("the heart attack").tolist() == []
    assert encoder.words("the heart", {5, 6, 80}) == []
    assert {word.term_ids for word in encoder.words("the heart")} == {()}


def test_an_autoencoder_with_another_pooling_is_refused_by_name(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    modules = [
        Transformer(str(make_checkpoint())), Pooling(32, pooling_mode="lasttoken"), SparseAutoEncoder(32, 64, k=4)
    ]  # fmt: skip
    SparseEncoder(modules=modules).save(str(tmp_path))
    with pytest.raises(CheckpointError, match="lasttoken"):
        load_encoder(str(tmp_path))


def test_weights_in_a_bin_file(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = make_checkpoint()
    expected = load_encoder(str(folder), dtype="float32").encode_documents(TEXTS)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert abs(load_encoder(str(folder), dtype="float32").encode_documents(TEXTS) - expected).max() < 1e-6
    assert_equal_to_reference(folder)
