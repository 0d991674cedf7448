"""The package's own forward pass of BERT: transformers' numbers, without transformers, and only where it is exact."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedModel,
    set_seed,
)

import encoders.compute.packed_linear as packed_linear
from encoders.checkpoints.bert_layout import read_bert
from encoders.checkpoints.model import load_model
from encoders.compute.packed_linear import PackedLinear
from encoders.compute.transformer import BertBody, Projection, TransformersBody, ready, split_off_projection

IDS = [[2, 7, 9, 11, 3], [2, 3], [2, *range(5, 40), 3], [2, 8, 3]]
PAD = 0
CPU = torch.device("cpu")


def bert() -> PreTrainedModel:
    settings = {
        "vocab_size": 60,
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 50,
        "initializer_range": 0.6,
        "layer_norm_eps": 1e-6,
    }
    return BertForMaskedLM(BertConfig.from_dict(settings))


def distilbert() -> PreTrainedModel:
    return DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=60,
            dim=24,
            n_layers=2,
            n_heads=3,
            hidden_dim=40,
            max_position_embeddings=50,
            initializer_range=0.6,
        )
    )


@pytest.fixture(params=[bert, distilbert])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A masked language model with random weights, biases and norms that are not their start values."""
    return saved(request.param(), tmp_path)


def saved(model: PreTrainedModel, folder: Path) -> Path:
    set_seed(4)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name.lower():
            parameter.data += torch.randn_like(parameter) * 0.3
    model.save_pretrained(folder)
    return folder


def masked_lm_body(folder: Path) -> tuple[TransformersBody, Projection]:
    model = load_model(folder, "AutoModelForMaskedLM")
    return split_off_projection(model, device=CPU, dtype=torch.float32, pad_id=PAD)


def test_hidden_and_states_are_those_of_transformers(folder: Path) -> None:
    body, projection = masked_lm_body(folder)
    read = read_bert(folder, torch.float32, masked_lm=True)
    assert read is not None
    own, layer = read
    assert layer is not None
    with torch.inference_mode():
        expected, found = body.with_states(IDS), own(IDS, PAD)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == (sum(map(len, IDS)), 24)
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)
    assert torch.equal(layer.weight, projection.weight)
    assert projection.bias is not None
    assert torch.equal(layer.bias, projection.bias)


def test_a_model_without_a_head_is_read_with_and_without_prefix(tmp_path: Path) -> None:
    both = saved(bert(), tmp_path / "masked")
    BertModel.from_pretrained(both).save_pretrained(tmp_path / "bare")
    model = load_model(tmp_path / "bare", "AutoModel")
    ready(model, device=CPU, dtype=torch.float32)
    expected = TransformersBody(model, "last_hidden_state", PAD)
    for one in (both, tmp_path / "bare"):
        read = read_bert(one, torch.float32, masked_lm=False)
        assert read is not None
        with torch.inference_mode():
            torch.testing.assert_close(read[0](IDS, PAD)[0], expected(IDS), atol=1e-4, rtol=1e-5)
    assert read_bert(tmp_path / "bare", torch.float32, masked_lm=True) is None


def test_texts_of_one_length_are_not_padded_and_give_the_same(folder: Path) -> None:
    read = read_bert(folder, torch.float32, masked_lm=False)
    assert read is not None
    with torch.inference_mode():
        together = read[0]([IDS[0], IDS[0]], PAD)[0]
        padded = read[0]([IDS[0], IDS[2]], PAD)[0][: len(IDS[0])]
    torch.testing.assert_close(together[: len(IDS[0])], padded, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_as_close_as_that_of_transformers(folder: Path) -> None:
    read = read_bert(folder, torch.bfloat16, masked_lm=False)
    assert read is not None
    exact, rough = (load_model(folder, "AutoModel") for _ in range(2))
    ready(exact, device=CPU, dtype=torch.float32)
    ready(rough, device=CPU, dtype=torch.bfloat16)
    with torch.inference_mode():
        expected = TransformersBody(exact, "last_hidden_state", PAD)(IDS)
        theirs = TransformersBody(rough, "last_hidden_state", PAD)(IDS).float() - expected
        found = read[0](IDS, PAD)[0]
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().mean() < 1.3 * theirs.abs().mean()


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu_new"},
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"model_type": "roberta"},
        {"auto_map": {"AutoModel": "own.Model"}},
        {"quantization_config": {"bits": 4}},
        {"vocab_size": 61},
        {"num_hidden_layers": 4},
        {"num_attention_heads": 5},
        {"hidden_size": "24"},
        {"intermediate_size": None},
        {"layer_norm_eps": "small"},
    ],
)
def test_what_is_not_certainly_bert_is_left_to_transformers(tmp_path: Path, changes: dict[str, object]) -> None:
    saved(bert(), tmp_path)
    change_config(tmp_path, **changes)
    assert read_bert(tmp_path, torch.float32, masked_lm=True) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("bert.encoder.layer.1.output.dense.bias"),
        lambda tensors: tensors.update({"bert.embeddings.LayerNorm.gamma": torch.ones(24)}),
        lambda tensors: tensors.update({"cls.predictions.decoder.bias": torch.ones(60)}),
        lambda tensors: tensors.update({"cls.predictions.decoder.weight": torch.ones(60, 24)}),
        lambda tensors: tensors.update({"bert.encoder.layer.0.output.dense.weight": torch.ones(24, 41)}),
        lambda tensors: tensors.update({"bert.embeddings.word_embeddings.weight": torch.ones(60, 24).to(torch.int8)}),
    ],
)
def test_missing_or_contradicting_weights_are_left_to_transformers(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    saved(bert(), tmp_path)
    change_tensors(tmp_path, change)
    assert read_bert(tmp_path, torch.float32, masked_lm=True) is None


def test_a_damaged_file_is_left_to_transformers(tmp_path: Path) -> None:
    saved(bert(), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    assert read_bert(tmp_path, torch.float32, masked_lm=True) is None


def test_gradients_and_the_model_itself_come_from_transformers(folder: Path) -> None:
    read = read_bert(folder, torch.float32, masked_lm=True)
    assert read is not None
    body = BertBody(read[0], PAD, lambda: masked_lm_body(folder)[0])
    with torch.inference_mode():
        before = body(IDS)
    body.model.requires_grad_(True)
    assert body(IDS).requires_grad
    with torch.no_grad():
        torch.testing.assert_close(body(IDS), before, atol=1e-4, rtol=1e-5)
        next(body.model.parameters()).mul_(0.5)
        assert not torch.allclose(body(IDS), before, atol=1e-3)  # the changed weights compute


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_computes_what_torch_does(
    monkeypatch: pytest.MonkeyPatch, packs: bool, dtype: torch.dtype
) -> None:
    if packs and not packed_linear._packs(dtype):
        pytest.skip("oneDNN is not used for this precision on this processor")
    monkeypatch.setattr(packed_linear, "_packs", lambda _: packs)
    torch.manual_seed(1)
    weight, bias, x = torch.randn(30, 20).to(dtype), torch.randn(30).to(dtype), torch.randn(2, 5, 20).to(dtype)
    residual = torch.randn(2, 5, 30).to(dtype)
    layer = PackedLinear(weight, bias)
    exact = x.double() @ weight.double().T + bias.double()
    absolute, relative = (1e-5, 1e-5) if dtype == torch.float32 else (0.1, 0.02)
    with torch.inference_mode():
        for found, expected in (
            (layer(x), exact),
            (layer.gelu(x), torch.nn.functional.gelu(exact)),
            (layer.plus(x, residual), exact + residual.double()),
        ):
            assert found.dtype == dtype
            torch.testing.assert_close(found.double(), expected, atol=absolute, rtol=relative)


def test_a_dense_query_imports_no_transformers() -> None:
    script = (
        "import sys\nfrom encoders import load_dense_encoder\n"
        "vector = load_dense_encoder('lsr-mini', device='cpu').encode_dense_queries(['heart'])\n"
        "print(vector.shape, 'torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 384) True False", done.stderr
