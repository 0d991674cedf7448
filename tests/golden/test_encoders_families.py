"""Each family against its formula: dense, slow, float64, with only transformers, one text at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from encoders import CheckpointError, load_encoder
from encoders.presets import PRESETS
from encoders.settings import Activation, Family, Pooling, SideSettings
from encoders.training import TrainableEncoder, untrained

MakeCheckpoint = Callable[..., Path]

TEXTS = [
    "sparse retrieval of the heart",
    "the heart the heart the heart",
    "",
    "learned " * 60,
    "[SEP] attack 😀 é",
    "[UNK] \u2603 [MASK]",
]
SPECIAL = {0, 1, 2, 3, 4}
UNKNOWN = 1


def activation(name: Activation, x: np.ndarray) -> np.ndarray:
    relu = np.maximum(x, 0)
    return {
        Activation.RELU: relu,
        Activation.LOG1P_RELU: np.log1p(relu),
        Activation.LOG1P_LOG1P_RELU: np.log1p(np.log1p(relu)),
        Activation.LOG1P_SOFTPLUS: np.log1p(np.logaddexp(0, x)),
        Activation.IDENTITY: x,
    }[name]


class Reference:
    """One side by its definition."""

    def __init__(self, folder: Path, settings: SideSettings, linear: torch.nn.Linear | None = None) -> None:
        self.settings = settings
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        auto = {
            Family.MASKED_LM: transformers.AutoModelForMaskedLM,
            Family.ECHO: transformers.AutoModelForCausalLM,
            Family.BIDIRECTIONAL: transformers.AutoModelForCausalLM,
            Family.EPIC: transformers.AutoModelForMaskedLM,
            Family.MLP: transformers.AutoModel,
        }.get(settings.family)
        self.model = auto.from_pretrained(folder).double().eval() if auto else None
        self.linear = linear

    def encode(self, text: str) -> np.ndarray:
        settings = self.settings
        n_terms = len(self.tokenizer)
        limit = {"max_length": settings.max_length} if settings.max_length else {}
        bare = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if settings.family is Family.STATIC:
            weights = np.zeros(n_terms)
            weights[bare] = 1.0
            return weights
        ids = self.tokenizer(text, truncation=True, **limit)["input_ids"]
        fed, first = ids, 0
        if settings.family is Family.ECHO:
            fed, first = ids + ids[1:-1], len(ids)  # without CLS and SEP, but with a SEP that the text contains
        attention = {}
        if settings.family is Family.BIDIRECTIONAL:  # nothing is added to any attention score
            attention = {"attention_mask": torch.zeros(1, 1, len(fed), len(fed), dtype=torch.float64)}
        with torch.inference_mode():
            output = self.model(input_ids=torch.tensor([fed]), **attention, output_hidden_states=True)
        if settings.family is Family.MLP:
            hidden = output.last_hidden_state[0].numpy()
            linear = self.linear
            scores = activation(
                settings.activation, hidden @ linear.weight.detach().double().numpy()[0] + linear.bias.item()
            )
            weights = np.zeros(n_terms)
            for position, (token, score) in enumerate(zip(ids, scores, strict=True)):
                added = position in (0, len(ids) - 1)
                if (settings.pool_special_positions and token == ids[0]) or (
                    not settings.pool_special_positions and added
                ):
                    continue
                weights[token] = (
                    weights[token] + score if settings.pooling is Pooling.SUM else max(weights[token], score)
                )
            return np.maximum(weights, 0)
        logits = output.logits[0].numpy()[first:] * settings.logit_scale
        if not settings.pool_special_positions:
            logits = logits[1:-1]
        if settings.pooling is Pooling.FIRST:
            logits = logits[:1]
        votes = activation(settings.activation, logits)
        if settings.family is Family.EPIC:
            return self._epic(ids, votes, output.hidden_states[-1][0].numpy())
        if not len(votes):
            return np.zeros(n_terms)
        weights = votes.sum(axis=0) if settings.pooling is Pooling.SUM else votes.max(axis=0)
        if settings.zero_special_ids:
            weights[sorted(SPECIAL)] = 0
        if settings.lexical:
            weights[[i for i in range(n_terms) if i not in ids or i in SPECIAL - {UNKNOWN}]] = 0
        if settings.max_active_dims:
            weights[np.argsort(-weights, kind="stable")[settings.max_active_dims :]] = 0
        weights[weights <= settings.prune_ratio * weights.max()] = 0
        return weights

    def _epic(self, ids: list[int], votes: np.ndarray, states: np.ndarray) -> np.ndarray:
        """log1p(softplus) of the logits x importance of the token, x sigmoid of CLS."""
        scores = states @ self.linear.weight.detach().double().numpy().T + self.linear.bias.detach().double().numpy()
        importance = np.log1p(np.logaddexp(0, scores[:, 0]))
        ordinary = list(range(1, len(ids) - 1))
        if not ordinary:
            return np.zeros(votes.shape[1])
        quality = 1.0 / (1.0 + np.exp(-scores[0, 1]))
        return quality * (votes * importance[ordinary][:, None]).max(axis=0)

    def encode_all(self, texts: list[str]) -> np.ndarray:
        return np.stack([self.encode(text) for text in texts])


def assert_close(matrix: Any, expected: np.ndarray) -> None:
    """Within 1e-5, relative where sums over many positions are larger than 1."""
    assert np.abs(matrix.toarray() - expected).max() <= 1e-5 * max(1.0, expected.max())


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling": "sum"},
        {"pool_special_positions": False},
        {"pool_special_positions": False, "pooling": "sum"},
        {"zero_special_ids": True, "activation": "log1p_log1p_relu"},
        {"lexical": True},
        {"pooling": "first", "activation": "relu"},
        {"activation": "log1p_softplus"},
        {"logit_scale": 0.42},
        {"prune_ratio": 0.4},
        {"max_active_dims": 7},
        {"max_length": 9},
    ],
    ids=json.dumps,
)
def test_masked_lm_settings(make_checkpoint: MakeCheckpoint, settings: dict[str, Any]) -> None:
    folder = make_checkpoint()
    encoder = load_encoder(str(folder), dtype="float32", **settings)
    expected = Reference(folder, SideSettings(**settings)).encode_all(TEXTS)
    assert_close(encoder.encode_documents(TEXTS), expected)
    assert_close(encoder.encode_queries(TEXTS), expected)


def test_a_setting_may_be_for_one_side_alone(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    encoder = load_encoder(str(folder), dtype="float32", query_family="static", document_pooling="sum")
    queries = Reference(folder, SideSettings(family=Family.STATIC)).encode_all(TEXTS)
    documents = Reference(folder, SideSettings(pooling=Pooling.SUM)).encode_all(TEXTS)
    assert np.array_equal(encoder.encode_queries(TEXTS).toarray(), queries)
    assert_close(encoder.encode_documents(TEXTS), documents)


def test_echo_pools_the_second_copy_of_a_decoder(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint("mistral")
    with pytest.raises(CheckpointError, match="family='echo'"):
        load_encoder(str(folder))
    encoder = load_encoder(str(folder), dtype="float32", family="echo")
    expected = Reference(folder, SideSettings(family=Family.ECHO)).encode_all(TEXTS)
    assert_close(encoder.encode_documents(TEXTS), expected)
    assert encoder.encode_documents([""]).nnz == 0


@pytest.mark.parametrize("architecture", ["mistral", "llama"])
def test_a_bidirectional_decoder_sees_the_whole_text_and_scales_its_logits(
    make_checkpoint: MakeCheckpoint, architecture: str
) -> None:
    folder = make_checkpoint(architecture)
    with pytest.raises(CheckpointError, match="family='bidirectional'"):
        load_encoder(str(folder))
    encoder = load_encoder(str(folder), dtype="float32", family="bidirectional")
    settings = SideSettings(family=Family.BIDIRECTIONAL, logit_scale=32**-0.25)
    assert encoder.documents.settings.logit_scale == settings.logit_scale
    expected = Reference(folder, settings).encode_all(TEXTS)
    assert_close(encoder.encode_documents(TEXTS), expected)
    one_by_one = np.concatenate([encoder.encode_documents([text]).toarray() for text in TEXTS])
    assert_close(encoder.encode_documents(TEXTS), one_by_one)
    # Causal attention gives other numbers, so the test distinguishes the two.
    causal = load_encoder(str(folder), dtype="float32", family="echo").encode_documents(TEXTS).toarray()
    assert np.abs(causal - expected).max() > 0.01


@pytest.mark.parametrize("prefix", ["", "coil_encoder."])
def test_unicoil_checkpoints_sum_query_tokens_and_skip_cls(make_checkpoint: MakeCheckpoint, prefix: str) -> None:
    folder = make_checkpoint()
    linear = torch.nn.Linear(32, 1)
    torch.nn.init.ones_(linear.bias)
    weights = {name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "cls." not in name}
    weights |= {"tok_proj.weight": linear.weight.detach(), "tok_proj.bias": linear.bias.detach()}
    save_file(
        {prefix + name: tensor for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["UniCoilEncoder"]}))
    encoder = load_encoder(str(folder), dtype="float32")
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})  # the reference cannot read the prefix
    documents = Reference(folder, SideSettings(family=Family.MLP, activation=Activation.RELU), linear)
    assert_close(encoder.encode_documents(TEXTS), documents.encode_all(TEXTS))
    queries = Reference(
        folder, SideSettings(family=Family.MLP, activation="relu", pooling="sum", max_length=64), linear
    )
    assert_close(encoder.encode_queries(TEXTS), queries.encode_all(TEXTS))
    assert encoder.encode_documents(["heart"]).nnz > 0


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_trains_and_agrees_with_its_formula(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str
) -> None:
    from encoders.checkpoints.saving import save_encoder

    torch.manual_seed(3)
    folder = make_checkpoint()
    trainable = TrainableEncoder(untrained(name, folder, device="cpu"), train_static=True)
    queries = ["heart attack", "sparse retrieval", "vitamin c", "the search"]
    documents = ["attack of the heart", "a sparse retriever", "c vitamin 9", "search the web"]
    optimizer = torch.optim.AdamW(trainable.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        scores = trainable.queries(queries) @ trainable.documents(documents).T
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]

    encoder = trainable.finish()
    save_encoder(encoder, tmp_path / "saved")
    again = load_encoder(str(tmp_path / "saved"), dtype="float32")
    for side, saved, encode in (
        (encoder.queries, "queries", again.encode_queries),
        (encoder.documents, "documents", again.encode_documents),
    ):
        at = tmp_path / "saved" / saved
        reference = Reference(
            at if at.is_dir() else tmp_path / "saved" / "documents", side.settings, getattr(side, "linear", None)
        )
        expected = reference.encode_all(TEXTS)
        if side.settings.family is Family.STATIC:
            expected = expected * side.table
        assert_close(encode(TEXTS), expected)
        assert_close(side.encode(TEXTS), expected)
