"""A static body: a weighted mean of token vectors, learned from a sentence encoder's vectors; on disk, in float32 and
in int8; and what a pooled side computes with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders import CheckpointError, SettingError, load_encoder
from encoders.checkpoints.saving import save_compactly, save_encoder
from encoders.checkpoints.static_body import FILE_INT8, read_static_body
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.compute.static_body import FILE, StaticBody
from encoders.learned import LearnedEncoder
from encoders.settings import Family, SideSettings
from encoders.sides.bm25_impacts import BM25Impacts
from encoders.sides.pooled import PooledHead, PooledSide
from encoders.text.tokenization import Tokenization
from encoders.training.query_table import QueryTable
from encoders.training.static_body import distil, main_directions
from encoders.vocabulary import FixedVocabulary

MakeCheckpoint = Callable[..., Path]
TEXTS = ["heart attack and vitamin", "a sparse search", "learn to search the heart " * 20, ""]


def a_body(n_tokens: int, size: int = 6, seed: int = 3) -> StaticBody:
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.normal(size=(n_tokens, size)).astype(np.float32))
    weights = torch.from_numpy(rng.uniform(0.1, 1.0, n_tokens).astype(np.float32))
    weights[:2] = 0.0
    return StaticBody(vectors, weights, torch.from_numpy(rng.normal(size=size).astype(np.float32)))


@pytest.fixture
def encoder(make_checkpoint: MakeCheckpoint) -> LearnedEncoder:
    tokenizer = read_tokenizer(make_checkpoint())
    settings = SideSettings(family=Family.POOLED, max_length=16, average_length=8.0, max_active_dims=30)
    tokenization = Tokenization(tokenizer, 16)
    n_terms = len(tokenization.tokens)
    head = PooledHead(6, n_terms).requires_grad_(False)
    generator = torch.Generator().manual_seed(5)
    head.expansion.weight.copy_(torch.randn(n_terms, 6, generator=generator))
    head.factor.copy_(torch.rand(n_terms, generator=generator))
    side = PooledSide(tokenization, settings, a_body(n_terms), head)
    table = np.linspace(0.1, 2.0, n_terms, dtype=np.float32)
    return LearnedEncoder(
        "static",
        documents=side,
        queries=QueryTable(table).side(tokenizer, settings),
        vocabulary=FixedVocabulary(tokenization.tokens),
        fingerprint="",
        settings={},
    )


def formula(encoder: LearnedEncoder, text: str) -> np.ndarray:
    """The weights of one text in float64, from the definition."""
    side = encoder.documents
    assert isinstance(side, PooledSide)
    body, head = side.body, side.head
    assert isinstance(body, StaticBody)
    [ids] = side.ids([text])
    read = ids if len(ids) <= 16 else ids[:15] + ids[-1:]
    weights, vectors = body.token_weights.double().numpy()[read], body.vectors.double().numpy()[read]
    mean = body.offset.double().numpy() + weights @ vectors / weights.sum()
    pooled = mean / np.linalg.norm(mean)
    expansion = np.maximum(head.expansion.weight.double().numpy() @ pooled + head.expansion.bias.double().numpy(), 0.0)
    keys, impacts = BM25Impacts(side.settings, side.tokenization, side.n_terms)([ids])
    literal = np.zeros(side.n_terms)
    literal[keys.numpy()] = impacts.double().numpy()
    found: np.ndarray = (literal * head.factor.double().numpy() + expansion) * side.ordinary.numpy()
    return found


def test_weights_are_those_of_the_definition(encoder: LearnedEncoder) -> None:
    found = encoder.encode_documents(TEXTS).toarray()
    for row, text in zip(found[:3], TEXTS, strict=False):
        wanted = formula(encoder, text)
        wanted[np.argsort(-wanted, kind="stable")[30:]] = 0.0
        np.testing.assert_allclose(row, wanted, atol=1e-5)
    assert not found[3:].any()  # no word that is known


def test_gradients_do_not_change_the_weights(encoder: LearnedEncoder) -> None:
    side = encoder.documents
    assert isinstance(side, PooledSide)
    ids = side.ids(TEXTS)
    with torch.no_grad():
        computed = side.weights(ids)
    side.head.requires_grad_(True)
    trained = side.weights(ids)
    assert trained.requires_grad
    torch.testing.assert_close(trained.detach(), computed)


@pytest.mark.parametrize("save", [save_encoder, save_compactly])
def test_an_encoder_is_read_back(
    encoder: LearnedEncoder, tmp_path: Path, save: Callable[[LearnedEncoder, Path], None]
) -> None:
    save(encoder, tmp_path / "model")
    again = load_encoder(str(tmp_path / "model"), device="cpu")
    assert isinstance(again, LearnedEncoder)
    assert again.dense_size == 6
    tolerance = 1e-6 if save is save_encoder else 0.1
    np.testing.assert_allclose(
        again.encode_dense_documents(TEXTS), encoder.encode_dense_documents(TEXTS), atol=tolerance
    )
    if save is save_compactly:
        assert {path.name for path in (tmp_path / "model" / "documents").iterdir()} >= {FILE_INT8, "config.json"}
        assert not (tmp_path / "model" / "documents" / FILE).exists()
    with np.testing.assert_raises(AssertionError):  # the sides do have something to compare
        np.testing.assert_allclose(again.encode_dense_documents(TEXTS[:1]), again.encode_dense_documents(TEXTS[1:2]))


def test_a_damaged_body_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    body = a_body(9)
    body.save(tmp_path, None)
    whole = load_file(tmp_path / FILE)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 7}))
    with pytest.raises(CheckpointError, match=r"9 x 6, which is not what config.json says"):
        read_static_body(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({name: value for name, value in whole.items() if name != "offset"}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match="'offset' is missing"):
        read_static_body(tmp_path)
    save_file({**whole, "offset": torch.zeros(5)}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match="do not fit"):
        read_static_body(tmp_path)
    save_file({**whole, "token_weights": -whole["token_weights"]}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match="below zero"):
        read_static_body(tmp_path)
    (tmp_path / FILE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"static_body\.safetensors"):
        read_static_body(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(CheckpointError, match="has neither"):
        read_static_body(tmp_path)


def test_a_body_has_neither_projection_nor_model(tmp_path: Path) -> None:
    body = a_body(9)
    with pytest.raises(TypeError, match="no transformers model"):
        _ = body.model
    with pytest.raises(ValueError, match="no projection"):
        body.save(tmp_path, object())  # type: ignore[arg-type]


def a_world(n_texts: int, n_tokens: int = 40, size: int = 5) -> tuple[list[list[int]], np.ndarray, np.ndarray]:
    """Texts of an encoder that really is a mean of hidden vectors of tokens, and what it says of each token alone."""
    rng = np.random.default_rng(7)
    hidden = rng.normal(size=(n_tokens, size))
    ids = [rng.integers(0, n_tokens, 30).tolist() for _ in range(n_texts)]
    wanted = np.stack([hidden[one].mean(axis=0) for one in ids]) + 0.5
    own = hidden + rng.normal(scale=0.5, size=hidden.shape)
    return ids, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), own / np.linalg.norm(own, axis=1, keepdims=True)


def cosine(body: StaticBody, ids: list[list[int]], wanted: np.ndarray) -> float:
    found = torch.nn.functional.normalize(body.means(ids)).numpy()
    return float((found * wanted).sum(axis=1).mean())


def test_learned_vectors_are_nearer_to_the_encoder_than_its_own_vectors_of_tokens() -> None:
    ids, wanted, own = a_world(300)
    untrained = distil(ids[:200], wanted[:200], own, special=(), steps=0).body
    trained = distil(ids[:200], wanted[:200], own, special=()).body
    assert cosine(trained, ids[200:], wanted[200:]) > 0.995
    assert cosine(trained, ids[200:], wanted[200:]) > cosine(untrained, ids[200:], wanted[200:]) + 0.003


def test_special_tokens_have_no_weight_and_change_nothing() -> None:
    ids, wanted, own = a_world(50)
    body = distil([[0, *one, 1] for one in ids], wanted, own, special=(0, 1)).body
    assert body.token_weights[:2].tolist() == [0.0, 0.0]
    torch.testing.assert_close(body.means([[0, 5, 6, 1]]), body.means([[5, 6]]))


def test_a_rarer_token_has_the_larger_weight() -> None:
    body = distil([[2, 2, 2, 3]], np.eye(4)[:1], np.eye(4), special=()).body
    assert body.token_weights[2] < body.token_weights[3] < body.token_weights[1] == 1.0


def test_fewer_numbers_keep_what_counts() -> None:
    ids, wanted, own = a_world(100, size=5)
    whole, cut = distil(ids, wanted, own, special=()), distil(ids, wanted, own, special=(), size=4)
    assert cut.body.hidden_size == 4
    expected = whole.body.means(ids) @ torch.from_numpy(cut.directions)
    torch.testing.assert_close(cut.body.means(ids), expected, atol=1e-5, rtol=1e-5)
    lengths = whole.body.means(ids).norm(dim=1) - cut.body.means(ids).norm(dim=1)
    assert float(lengths.abs().max()) < 0.2
    directions = main_directions(np.random.default_rng(1).normal(size=(30, 6)).astype(np.float32), 3)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)


@pytest.mark.parametrize(("ids", "size", "message"), [([[1]], 9, "have 4"), ([[0]], None, "texts with tokens")])
def test_what_cannot_be_learned_is_refused(ids: list[list[int]], size: int | None, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        distil(ids, np.eye(4)[:1], np.eye(4), special=(0,), size=size)


def test_in_bfloat16_the_products_alone_are_rounded(encoder: LearnedEncoder, tmp_path: Path) -> None:
    save_encoder(encoder, tmp_path)
    exact, halves = (load_encoder(str(tmp_path), device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert (exact.encode_documents(TEXTS).nnz, exact.dtype) == (encoder.encode_documents(TEXTS).nnz, "float32")
    found, wanted = halves.encode_documents(TEXTS).toarray(), exact.encode_documents(TEXTS).toarray()
    assert halves.dtype == "bfloat16"
    both = (found > 0) & (wanted > 0)
    assert both.sum() > 0.9 * (wanted > 0).sum()  # at the cut, rounding may swap terms
    np.testing.assert_allclose(found[both], wanted[both], atol=0.02)
    assert isinstance(exact, LearnedEncoder)
    assert isinstance(halves, LearnedEncoder)
    np.testing.assert_array_equal(halves.encode_dense_documents(TEXTS), exact.encode_dense_documents(TEXTS))
