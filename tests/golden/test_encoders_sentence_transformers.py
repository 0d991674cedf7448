"""Every weight is equal to that of sentence-transformers, on checkpoints of each layout it supports, made here."""

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
from tokenizers import AddedToken

from encoders import CheckpointError, load_encoder
from encoders.checkpoints.saving import save_encoder
from tests.conftest import save_language_model

MakeCheckpoint = Callable[..., Path]

# Texts that break tokenizers and batching: empty, long, special tokens spelled out, emoji, CJK, NUL, odd white space.
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


def assert_equal_to_reference(folder: Path, texts: list[str] = TEXTS, within: float = 1e-5) -> None:
    """Compare both sides of a checkpoint that sentence-transformers reads as well."""
    encoder = load_encoder(str(folder), dtype="float32", device="cpu")
    reference = SparseEncoder(str(folder))
    assert_same(encoder.encode_documents, reference.encode_document, texts, within)
    assert_same(encoder.encode_queries, reference.encode_query, texts, within)


def difference(found: Any, expected: Any) -> float:
    """Return the largest difference of two arrays, relative for values above 1."""
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 1.0)).max())


def assert_same(
    encode: Callable[..., Any], refer: Callable[..., Any], texts: list[str] = TEXTS, within: float = 1e-5
) -> None:
    """Compare texts alone and together, every weight; `within` is relative for weights above 1."""
    together = refer(texts, convert_to_sparse_tensor=False, show_progress_bar=False).numpy()
    assert (together > 1e-4).sum() > 2 * len(texts)
    assert difference(encode(texts).toarray(), together) < within
    for text in texts + ONLY_ALONE:
        alone = refer([text], convert_to_sparse_tensor=False, show_progress_bar=False).numpy()[0]
        assert difference(encode([text]).toarray()[0], alone) < within, text


ARCHITECTURES = ["bert", "distilbert", "roberta", "modernbert"]


def write_byte_level_tokenizer(folder: Path) -> int:
    """Write RoBERTa's kind of tokenizer (byte-level BPE, a space belongs to the word after it); return its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=32, bos_token="<s>", cls_token="<s>", eos_token="</s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    ).save_pretrained(folder)  # fmt: skip
    return int(tokenizer.get_vocab_size())


def test_a_byte_level_tokenizer_as_roberta_has_it(tmp_path: Path) -> None:
    size = write_byte_level_tokenizer(tmp_path)
    save_language_model(
        tmp_path, "roberta", vocab_size=size, pad_token_id=1, bos_token_id=0, eos_token_id=2, max_position_embeddings=40
    )
    assert_equal_to_reference(tmp_path, [*TEXTS, "the <mask> heart", "</s> <pad>", "a<s>b"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_checkpoints_of_four_architectures(make_checkpoint: MakeCheckpoint, architecture: str) -> None:
    assert_equal_to_reference(make_checkpoint(architecture))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("pooling", "activation"), [("max", "relu"), ("sum", "relu"), ("max", "log1p_relu"), ("sum", "log1p_relu")]
)
def test_one_pipeline_with_each_pooling_and_activation(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, architecture: str, pooling: Any, activation: Any
) -> None:
    transformer = Transformer(str(make_checkpoint(architecture)), transformer_task="fill-mask")
    splade = SpladePooling(pooling_strategy=pooling, activation_function=activation)
    SparseEncoder(modules=[transformer, splade]).save(str(tmp_path))
    # A sum adds up the rounding of its 32 positions: this reference itself, a text alone against the text in a batch,
    # differs by 1.24e-5 (distilbert, relu), and is as far from its own result in float64. Ours differs by 1.01e-5
    # with AVX2 (distilbert, log1p_relu).
    noisy = (architecture, pooling) == ("distilbert", "sum")
    assert_equal_to_reference(tmp_path, within=2e-5 if noisy else 1e-5)


def test_prompts_and_max_active_dims_and_a_shorter_length(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    transformer = Transformer(
        str(make_checkpoint()), transformer_task="fill-mask", max_seq_length=12, query_length=6, do_lower_case=True
    )
    SparseEncoder(
        modules=[transformer, SpladePooling()], max_active_dims=9, prompts={"query": "heart: ", "passage": "the "}
    ).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_router_with_learned_query_weights(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, architecture: str
) -> None:
    transformer = Transformer(str(make_checkpoint(architecture)), transformer_task="fill-mask")
    weight = torch.rand(len(transformer.tokenizer.get_vocab()))
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(transformer.tokenizer, weight=weight)],
        document_modules=[transformer, SpladePooling(activation_function="log1p_relu")],
    )
    SparseEncoder(modules=[router]).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_repositories_are_a_sparse_encoder_each(make_checkpoint: MakeCheckpoint, architecture: str) -> None:
    documents, queries = make_checkpoint(seed=1), make_checkpoint(architecture, seed=2)
    pair = load_encoder(str(documents), dtype="float32", device="cpu", query_model=str(queries))
    assert_same(pair.encode_documents, SparseEncoder(str(documents)).encode_document)
    assert_same(pair.encode_queries, SparseEncoder(str(queries)).encode_query)


# peft uses a name of transformers that is deprecated.
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("architecture", "targets"), [("bert", ["query"]), ("distilbert", ["q_lin"]), ("modernbert", ["Wqkv"])]
)
def test_a_lora_adapter_is_the_merged_model(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, architecture: str, targets: list[str]
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    base = make_checkpoint(architecture)
    torch.manual_seed(4)
    model = get_peft_model(AutoModelForMaskedLM.from_pretrained(base), LoraConfig(r=4, target_modules=targets))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(tmp_path / "adapter")
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "merged")
    encoder = load_encoder(str(tmp_path / "adapter"), dtype="float32", device="cpu")
    assert_same(encoder.encode_documents, SparseEncoder(str(tmp_path / "merged")).encode_document)


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
    # sentence-transformers reads the path from the working directory; here it is inside the folder.
    (folder / "config.json").write_text(json.dumps({"frozen": True, "path": str(folder / "idf.json")}))
    reference = SparseEncoder(str(tmp_path)).encode_query(TEXTS, convert_to_sparse_tensor=False).numpy()
    (folder / "config.json").write_text(json.dumps({"frozen": True, "path": "idf.json"}))
    ours = load_encoder(str(tmp_path)).encode_queries(TEXTS).toarray()
    assert np.abs(ours - reference).max() < 1e-6
    assert (ours > 0).sum() > 20


def lexical_modules(folder: Path, **pooling: Any) -> list[Any]:
    transformer = Transformer(str(folder), transformer_task="fill-mask")
    torch.manual_seed(5)
    weight = torch.rand(len(transformer.tokenizer.get_vocab()))
    weight[7:20] = 0.0
    return [transformer, SpladePooling(**pooling), SparseStaticEmbedding(transformer.tokenizer, weight=weight)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_pipeline_that_keeps_the_texts_own_tokens(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, architecture: str
) -> None:
    SparseEncoder(modules=lexical_modules(make_checkpoint(architecture))).save(str(tmp_path))
    assert_equal_to_reference(tmp_path, [*TEXTS, "[UNK] of the [MASK] \u2603"])


def test_a_router_whose_queries_are_lexical(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    queries = lexical_modules(make_checkpoint(seed=1), activation_function="log1p_relu")
    router = Router.for_query_document(query_modules=queries, document_modules=[queries[0], SpladePooling()])
    SparseEncoder(modules=[router], max_active_dims=11).save(str(tmp_path / "theirs"))
    assert_equal_to_reference(tmp_path / "theirs", [*TEXTS, "[UNK] [MASK]"])
    encoder = load_encoder(str(tmp_path / "theirs"), dtype="float32")
    save_encoder(encoder, tmp_path / "ours")  # type: ignore[arg-type]
    again = load_encoder(str(tmp_path / "ours"), dtype="float32")
    assert abs(encoder.encode_queries(TEXTS) - again.encode_queries(TEXTS)).max() < 1e-5
    assert abs(encoder.encode_documents(TEXTS) - again.encode_documents(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("lexical", [False, True])
def test_a_router_of_poolings_over_one_transformer(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, lexical: bool
) -> None:
    transformer, pooling, static = lexical_modules(make_checkpoint(), pooling_strategy="sum")
    router = Router.for_query_document(
        query_modules=[pooling, static] if lexical else [pooling],
        document_modules=[SpladePooling(activation_function="log1p_relu")],
    )
    SparseEncoder(modules=[transformer, router]).save(str(tmp_path))
    assert_equal_to_reference(tmp_path, within=2e-5)
    encoder: Any = load_encoder(str(tmp_path), dtype="float32")
    assert encoder.queries.body is encoder.documents.body


def test_a_router_of_autoencoders_over_one_embedding(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    torch.manual_seed(1)
    router = Router.for_query_document(
        query_modules=[SparseAutoEncoder(32, 96, k=5, k_aux=4)],
        document_modules=[SparseAutoEncoder(32, 96, k=9, k_aux=4)],
    )
    modules = [Transformer(str(make_checkpoint(seed=3))), Pooling(32), router]
    SparseEncoder(modules=modules).save(str(tmp_path))
    assert_equal_to_reference(tmp_path)


@pytest.mark.parametrize("limit", [None, 9])
def test_a_cosine_similarity_is_the_dot_product_of_our_vectors(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, limit: int | None
) -> None:
    transformer = Transformer(str(make_checkpoint()), transformer_task="fill-mask")
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(transformer.tokenizer, weight=torch.rand(len(transformer.tokenizer)))],
        document_modules=[transformer, SpladePooling()],
    )
    model = SparseEncoder(modules=[router], similarity_fn_name="cosine", max_active_dims=limit)
    model.save(str(tmp_path))
    encoder = load_encoder(str(tmp_path), dtype="float32", device="cpu")
    ours = (encoder.encode_queries(TEXTS) @ encoder.encode_documents(TEXTS).T).toarray()
    vectors = [one(TEXTS, convert_to_sparse_tensor=False) for one in (model.encode_query, model.encode_document)]
    theirs = model.similarity(*vectors).numpy()
    assert np.abs(ours - theirs).max() < 1e-5
    assert 0.2 < ours.max() < 1.00001
    assert np.abs(np.sqrt((encoder.encode_documents(TEXTS).toarray() ** 2).sum(axis=1)) - 1).max() < 1e-5


def test_a_similarity_that_is_no_dot_product_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    transformer = Transformer(str(make_checkpoint()), transformer_task="fill-mask")
    SparseEncoder(modules=[transformer, SpladePooling()], similarity_fn_name="euclidean").save(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"config_sentence_transformers.json.*'euclidean'"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("lexical", [False, True])
def test_static_weights_below_zero_are_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path, lexical: bool) -> None:
    transformer, pooling, static = lexical_modules(make_checkpoint())
    with torch.no_grad():
        static.weight[transformer.tokenizer.convert_tokens_to_ids("heart")] = -0.5
    router = Router.for_query_document(
        query_modules=[transformer, pooling, static] if lexical else [static], document_modules=[transformer, pooling]
    )
    SparseEncoder(modules=[router]).save(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"1 weights are below zero .*'heart', -0.5"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("mode", ["mean", "max", "cls", "weightedmean", "lasttoken", "mean_sqrt_len_tokens"])
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
    # A latent is not a token, even with the same number.
    assert encoder.input_term_ids("the heart attack").tolist() == []
    assert encoder.words("the heart", {5, 6, 80}) == []
    assert {word.term_ids for word in encoder.words("the heart")} == {()}


def test_an_autoencoder_with_another_pooling_is_refused_by_name(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    modules = [
        Transformer(str(make_checkpoint())), Pooling(32, pooling_mode=("mean", "max")), SparseAutoEncoder(64, 64, k=4)
    ]  # fmt: skip
    SparseEncoder(modules=modules).save(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"mean\+max"):
        load_encoder(str(tmp_path))


def test_weights_in_a_bin_file(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = make_checkpoint()
    expected = load_encoder(str(folder), dtype="float32").encode_documents(TEXTS)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    found = load_encoder(str(folder), dtype="float32").encode_documents(TEXTS)  # transformers computes it
    assert difference(found.toarray(), expected.toarray()) < 1e-5
    assert_equal_to_reference(folder)
