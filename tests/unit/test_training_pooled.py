"""Expansion from a dense retriever's pooled vector: its start, its gradient, its training on frozen documents, int8."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from encoders import CheckpointError, load_encoder
from encoders.checkpoints.int8 import load_int8, save_int8
from encoders.checkpoints.saving import save_compactly, save_encoder
from encoders.compute.static_body import StaticBody
from encoders.sides.pooled import PooledHead, PooledSide
from encoders.training.dense_teacher import DenseTeacher
from encoders.training.frozen_documents import FrozenDocuments, LiveDocuments
from encoders.training.losses import flops
from encoders.training.pooled_start import Expansion
from encoders.training.trainable import TrainableEncoder
from lsr.cli.train import evaluate_encoder
from lsr.errors import SettingsError
from lsr.training import pooled_documents
from lsr.training.adaptation import adaptation
from lsr.training.config import TrainingConfig, parse_config
from lsr.training.context import RunContext
from lsr.training.run import train

MakeCheckpoint = Callable[..., Path]

WORDS = ["heart", "attack", "vitamin", "sparse", "search", "learn"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """With models this small, threads cost more time than they save, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def retriever(make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense retriever in sentence-transformers' layout, as all-MiniLM-L6-v2 is."""
    source, folder = make_checkpoint(), tmp_path_factory.mktemp("retriever")
    transformers.BertModel.from_pretrained(source).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ]
        )
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Queries whose word is in no answer: "heart" is answered by texts on "attack", and so on."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"query": f"the {WORDS[i % 6]} {i}", "text": f"{WORDS[(i + 1) % 6]} of {i + 40} and {i % 7}"} for i in range(36)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(retriever: Path, pairs: Path, **changes: Any) -> TrainingConfig:
    content: dict[str, Any] = {
        "model": {"backbone": str(retriever), "method": "pooled", "max_length": 16, "sample": 16},
        "data": [{"path": str(pairs)}],
        "negatives": {"bm25": 6, "per_query": 3},
        "teachers": {"dense": [str(retriever)]},
        "loss": {"infonce": 1.0, "kl": 0.1, "temperature": 2.0, "regulariser": "l1", "document_lambda": 1e-4},
        "steps": {"steps": 40, "batch_size": 8, "checkpoint_every": 4, "log_every": 1,
                  "factor_learning_rate": 1e-1, "warm_up": 0.0, "clip": 100.0},
    }  # fmt: skip
    for table, values in changes.items():
        content[table] = {**content.get(table, {}), **values}
    return parse_config(content)


@pytest.fixture(scope="module")
def run(retriever: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train(config(retriever, pairs), out, RunContext(device="cpu"))
    return out


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def pooled_side(folder: Path) -> PooledSide:
    side = load_encoder(str(folder), device="cpu", dtype="float32").documents  # type: ignore[attr-defined]
    assert isinstance(side, PooledSide)
    return side


def test_the_start_is_bm25_and_each_terms_own_embedding(run: Path, retriever: Path) -> None:
    side = pooled_side(run / "start")
    text = "sparse search of the heart " * 6  # longer than the model reads
    [ids] = side.ids([text])
    with torch.inference_mode():
        found = side.weights([ids])[0]
        keys, impacts = side.impacts([ids])
        literal = torch.zeros(side.n_terms).index_put((keys,), impacts)
        tokens = torch.cat([side.pooled([[ids[0], v, ids[-1]]]) for v in range(side.n_terms)])
        directions = torch.nn.functional.normalize(tokens - tokens.mean(dim=0), dim=1)
        # The mean of the sample texts is in the bias; it is the same for all texts.
        scale, margin = Expansion()
        mean_part = -margin - side.head.expansion.bias / scale
        logits = scale * (directions @ side.pooled([ids])[0] - mean_part - margin)
    wanted = (literal + torch.relu(logits)) * side.ordinary
    usable = side.head.expansion.bias > -50
    torch.testing.assert_close(found[usable], wanted[usable], atol=1e-5, rtol=1e-5)
    assert bool((found[~usable] <= literal[~usable]).all())
    transformer = load_file(retriever / "model.safetensors")
    state = side.body.model.state_dict()
    assert torch.equal(state["embeddings.word_embeddings.weight"], transformer["embeddings.word_embeddings.weight"])


def test_a_term_below_zero_still_has_a_gradient() -> None:
    head = PooledHead(2, 3)
    torch.nn.init.constant_(head.expansion.bias, -0.02)
    weights = head(torch.ones(1, 2), torch.zeros(1, 3))
    assert not weights.any()
    weights.sum().backward()
    gradient = head.expansion.bias.grad
    assert gradient is not None
    assert bool((gradient > 0).all())


def test_sampled_terms_give_the_scores_and_in_the_mean_the_regulariser_of_all(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder: Any = load_encoder(str(run / "start"), device="cpu", dtype="float32")
    texts = ["heart of the search", "sparse vitamin", "learn the attack"]
    with torch.inference_mode():
        side = encoder.documents
        vectors = side.pooled(side.ids(texts)).numpy().astype(np.float16)
    trainable = TrainableEncoder(encoder, frozen=FrozenDocuments(side, texts, vectors))
    with torch.no_grad():
        everything = trainable.documents(texts)
        queries = ["the heart", "search vitamin"]
        wanted = trainable.queries(queries) @ everything.T
        n_others = int(side.ordinary.sum()) - len(
            {v for one in trainable.queries(queries) for v in one.nonzero()[:, 0].tolist()}
        )
        monkeypatch.setattr("encoders.training.trainable._SAMPLED_TERMS", n_others // 2)
        sampled = []
        for seed in range(200):
            torch.manual_seed(seed)
            pair = trainable.pair(queries, texts)
            torch.testing.assert_close(pair.queries @ pair.documents.T, wanted, atol=2e-3, rtol=2e-3)
            sampled.append(float(flops(pair.documents, pair.share)))
    assert np.mean(sampled) == pytest.approx(float(flops(everything)), rel=0.02)


def test_training_learns_the_head_alone(run: Path) -> None:
    records = [one for one in lines(run) if "loss" in one]
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]
    before, after = pooled_side(run / "start"), pooled_side(run / "model")
    assert not torch.equal(before.head.expansion.weight, after.head.expansion.weight)
    for name, value in before.body.model.state_dict().items():
        assert torch.equal(value, after.body.model.state_dict()[name]), name


def test_a_killed_run_ends_with_the_same_result(retriever: Path, pairs: Path, run: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def progress(phase: str, done: int, total: int | None) -> None:
        if phase == "steps" and done == 7:
            raise Killed

    with pytest.raises(Killed):
        train(config(retriever, pairs), tmp_path, RunContext(device="cpu", progress=progress))
    train(config(retriever, pairs), tmp_path, RunContext(device="cpu"))
    for name, value in pooled_side(run / "model").head.state_dict().items():
        assert torch.equal(value, pooled_side(tmp_path / "model").head.state_dict()[name]), name


def test_a_model_in_int8_is_read_back_as_what_was_stored(run: Path, tmp_path: Path) -> None:
    encoder: Any = load_encoder(str(run / "model"), device="cpu", dtype="float32")
    save_compactly(encoder, tmp_path / "small")
    small: Any = load_encoder(str(tmp_path / "small"), device="cpu", dtype="float32")
    tensors = load_int8(tmp_path / "small" / "documents" / "int8.safetensors")
    state = small.documents.body.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in tensors.items())
    large, little = (one.encode_documents(["sparse search of the heart"]).toarray() for one in (encoder, small))
    assert np.abs(large - little).max() < 0.05
    assert (
        not list((tmp_path / "small").rglob("model.safetensors"))
        or not (tmp_path / "small" / "documents" / "model.safetensors").exists()
    )
    save_compactly(small, tmp_path / "again")
    again: Any = load_encoder(str(tmp_path / "again"), device="cpu", dtype="float32")
    np.testing.assert_allclose(
        again.encode_documents(["sparse search"]).toarray(),
        small.encode_documents(["sparse search"]).toarray(),
        atol=1e-5,
    )


def test_a_damaged_int8_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "int8.safetensors"
    save_int8({"a": torch.randn(3, 4), "b": torch.randn(5)}, file)
    values = load_file(file)
    del values["a.scale"]
    save_file(values, file)
    with pytest.raises(CheckpointError, match="matrix a has no scale"):
        load_int8(file)
    file.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_int8(file)


def test_a_head_that_does_not_fit_is_refused(run: Path, tmp_path: Path) -> None:
    encoder: Any = load_encoder(str(run / "model"), device="cpu", dtype="float32")
    save_encoder(encoder, tmp_path)
    head = tmp_path / "documents" / "pooled_head.safetensors"
    tensors = load_file(head)
    save_file({**tensors, "expansion.weight": tensors["expansion.weight"][:, 1:].contiguous()}, head)
    with pytest.raises(CheckpointError, match=r"pooled_head.safetensors: .*expansion.weight"):
        load_encoder(str(tmp_path)).prepare_documents()
    head.unlink()
    with pytest.raises(CheckpointError, match="a pooled side needs"):
        load_encoder(str(tmp_path)).prepare_documents()


@pytest.fixture(scope="module")
def conflated(retriever: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like lsr-mini's: the forms of a word share a term, the query table is trained, the result is in int8."""
    out = tmp_path_factory.mktemp("conflated")
    model = {"conflate": True, "piece_weight": 0.5, "train_queries": True, "int8": True, "max_active_dims": 20}
    model |= {"collection_idf": 0.5, "query_saturation": 0.4, "expansion_scale": 1.0, "expansion_margin": 0.2}
    train(config(retriever, pairs, model=model), out, RunContext(device="cpu"))
    return out


def test_a_trained_table_is_stored_with_the_idf_that_it_started_from(conflated: Path, run: Path) -> None:
    start, trained = (
        load_encoder(str(conflated / name), device="cpu", dtype="float32").queries for name in ("start", "model")
    )
    assert trained.settings.collection_idf == 0.5
    np.testing.assert_array_equal(trained.reference, start.reference)
    tokens = trained.tokenization.tokens
    within = np.array([token.startswith("##") for token in tokens]) & (start.table > 0)
    whole = ~within & (start.table > 0)
    np.testing.assert_allclose(start.table[within], 0.5 * start.reference[within], rtol=1e-6)
    np.testing.assert_array_equal(start.table[whole], start.reference[whole])
    assert (trained.table[whole] != start.table[whole]).any()
    assert load_encoder(str(run / "model"), device="cpu").queries.reference is None


def test_the_expansion_starts_as_large_as_the_configuration_says(conflated: Path, run: Path) -> None:
    own, default = (pooled_side(folder / "start").head.expansion for folder in (conflated, run))
    torch.testing.assert_close(own.weight, default.weight / 2)
    usable = (own.bias > -50) & (default.bias > -50)
    of_the_mean = -default.bias / 2 - 0.1
    torch.testing.assert_close(own.bias[usable], (-0.2 - of_the_mean)[usable])


def test_a_repeated_term_of_a_query_counts_more_but_not_as_often(conflated: Path) -> None:
    side = load_encoder(str(conflated / "model"), device="cpu").queries  # type: ignore[attr-defined]
    once, twice = (side.encode([text]).toarray()[0] for text in ("heart", "heart heart"))
    assert once.max() > 0
    np.testing.assert_allclose(twice, once * (2 / 2.4) / (1 / 1.4), rtol=1e-6)


def test_a_term_without_weight_in_queries_is_not_in_a_document(conflated: Path) -> None:
    encoder: Any = load_encoder(str(conflated / "start"), device="cpu", dtype="float32")
    silent = encoder.queries.table == 0.0
    assert {"the", "of"} & set(encoder.vocabulary.tokens(np.flatnonzero(silent)))
    weights = encoder.encode_documents(["the heart of a search, the attack"]).toarray()[0]
    assert not weights[silent].any()
    assert weights[~silent].any()


@pytest.fixture(scope="module")
def static(retriever: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose documents are read by a static body of 12 numbers."""
    out = tmp_path_factory.mktemp("static")
    model = {"static_size": 12, "train_queries": True, "int8": True}
    train(config(retriever, pairs, model=model), out, RunContext(device="cpu"))
    return out


def likeness(some: np.ndarray, others: np.ndarray) -> float:
    """Return the correlation of the cosines of all pairs of rows, each of length 1."""
    upper = np.triu_indices(len(some), 1)
    return float(np.corrcoef((some @ some.T)[upper], (others @ others.T)[upper])[0, 1])


def test_a_static_body_is_learned_from_the_backbone_and_kept(static: Path, retriever: Path) -> None:
    start, trained = pooled_side(static / "start"), pooled_side(static / "model")
    assert isinstance(start.body, StaticBody)
    assert isinstance(trained.body, StaticBody)
    assert trained.dense_size == 12
    assert not any(static.rglob("int8.safetensors"))
    backbone = DenseTeacher(retriever, max_length=16, device="cpu")
    texts = [f"{WORDS[i % 6]} of {i + 40} and {i % 7}" for i in range(36)]
    wanted = backbone.encode(texts).astype(np.float32)
    [found, stored] = [side.encode_dense(texts) for side in (start, trained)]
    # What the retriever finds alike, the body finds alike: cosines of texts move together, more than by chance's
    # vectors (.16), under which texts that share words are alike, too.
    rng = torch.Generator().manual_seed(1)
    chance = StaticBody(
        torch.randn(start.body.vectors.shape, generator=rng),
        start.body.token_weights,
        torch.zeros_like(start.body.offset),
    )
    unlearned = torch.nn.functional.normalize(chance.means(start.read(texts)), dim=1).numpy()
    assert likeness(wanted, found) > 0.4  # .53, with a random retriever
    assert likeness(wanted, found) > likeness(wanted, unlearned) + 0.1
    np.testing.assert_allclose(stored, found, atol=0.02)  # rounded to int8, and not trained
    assert (trained.head.expansion.weight != start.head.expansion.weight).any()


def test_training_on_a_static_body_lowers_the_loss(static: Path) -> None:
    losses = [line["loss_infonce"] for line in lines(static) if "loss_infonce" in line]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_a_static_body_needs_the_pooled_method(retriever: Path, pairs: Path) -> None:
    for setting in ({"query_saturation": 0.4}, {"expansion_scale": 1.0}, {"expansion_margin": 0.2}):
        with pytest.raises(SettingsError, match=next(iter(setting))):
            config(retriever, pairs, model={**setting, "method": "splade-max"})
    with pytest.raises(SettingsError, match="static_size"):
        config(retriever, pairs, model={"static_size": 12, "method": "literal"})


@pytest.mark.parametrize("name", ["run", "conflated", "static"])
def test_sentence_transformers_gives_the_same_weights(name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(name) / "model"
    assert (folder / "documents" / "int8.safetensors").is_file() == (name == "conflated")
    sparse_encoder = pytest.importorskip("sentence_transformers").SparseEncoder
    model = sparse_encoder(str(folder), trust_remote_code=True, device="cpu")
    texts = ["sparse search of the heart", "the vitamin of the heart heart", ""]
    ours: Any = load_encoder(str(folder), device="cpu", dtype="float32")
    np.testing.assert_allclose(
        model.encode_document(texts).to_dense().numpy(), ours.encode_documents(texts).toarray(), atol=1e-5
    )
    np.testing.assert_allclose(
        model.encode_query(texts).to_dense().numpy(), ours.encode_queries(texts).toarray(), atol=1e-5
    )


def test_a_model_adapts_to_a_corpus_without_labels(
    run: Path, retriever: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    rows = [
        {"id": str(i), "title": f"{WORDS[i % 6]} search {i}", "text": f"the attack of {i} " * 4} for i in range(150)
    ]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("lsr.training.adaptation.HELD_OUT", (10, 20))
    wanted = adaptation(str(corpus), encoder=str(run / "model"), backbone=None, dense=str(retriever))
    assert wanted.teachers.sparse == (str(run / "model"),)
    short = dataclasses.replace(wanted, steps=dataclasses.replace(wanted.steps, steps=3, evaluate_every=2))
    read: list[str] = []
    original = pooled_documents._read
    monkeypatch.setattr(pooled_documents, "_read", lambda side, texts: (read.extend(texts), original(side, texts))[1])
    report = train(short, tmp_path / "out", RunContext(device="cpu", evaluate=evaluate_encoder))
    assert 0 < len(read) == len(set(read))  # the adapted model and the same one as a teacher: once for both
    assert report.outcome.first.keys() == report.outcome.last.keys() == {"held_out nDCG@10"}
    before, after = pooled_side(run / "model"), pooled_side(tmp_path / "out" / "best")
    assert before.settings == after.settings
    assert load_encoder(str(report.model), device="cpu").encode_documents(["heart"]).nnz > 0


def test_the_shipped_model_is_adapted_unless_another_is_named() -> None:
    wanted = adaptation("corpus.jsonl", encoder=None, backbone=None, dense=None)
    assert wanted.model.encoder == wanted.teachers.sparse[0] == "lsr-mini"
    assert wanted.model.max_length == 128  # its dense teacher reads the same number of word pieces
    with pytest.raises(SettingsError, match="give either --encoder"):
        adaptation("corpus.jsonl", encoder="lsr-mini", backbone="somewhere", dense=None)


def test_with_train_body_two_steps_change_the_transformer_too(retriever: Path, pairs: Path, tmp_path: Path) -> None:
    made = config(retriever, pairs, model={"train_body": True}, steps={"steps": 2, "learning_rate": 1e-2})
    train(made, tmp_path, RunContext(device="cpu"))
    start, trained = pooled_side(tmp_path / "start"), pooled_side(tmp_path / "model")
    before, after = (side.encode_dense(["heart attack"]) for side in (start, trained))
    assert np.abs(before - after).max() > 1e-3
    assert (trained.head.expansion.weight != start.head.expansion.weight).any()
    assert [line["step"] for line in lines(tmp_path) if "loss_kl" in line] == [1, 2]


def test_live_documents_are_what_frozen_ones_were(retriever: Path, run: Path) -> None:
    side = pooled_side(run / "start")
    texts = ["heart of 41 and 3", "vitamin of 45"]
    columns = torch.arange(0, side.n_terms, 3)
    vectors = side.encode_dense(texts).astype(np.float16)
    frozen, live = FrozenDocuments(side, texts, vectors), LiveDocuments(side)
    for kept, read in zip(frozen.read(texts, columns), live.read(texts, columns), strict=True):
        torch.testing.assert_close(read.detach(), kept, atol=1e-3, rtol=0)


def test_train_body_needs_the_pooled_method(retriever: Path, pairs: Path) -> None:
    with pytest.raises(SettingsError, match="train_body"):
        config(retriever, pairs, model={"train_body": True, "method": "literal"})


def test_a_static_body_is_not_trained(retriever: Path, pairs: Path, tmp_path: Path) -> None:
    made = config(retriever, pairs, model={"train_body": True, "static_size": 12})
    with pytest.raises(SettingsError, match="train_body"):
        train(made, tmp_path, RunContext(device="cpu"))
