"""BERT and DistilBERT read from a folder without transformers, for inference on a CPU.

A folder is read only if it certainly is that architecture: config.json names it and has nothing else that changes the
forward pass, and one file of safetensors has every weight in its shape. For any other folder the result is None;
transformers reads the model, or the error is raised there, so that one piece of code refuses a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from encoders.checkpoints.files import read_object
from encoders.checkpoints.int8 import FILE as INT8_FILE
from encoders.checkpoints.int8 import load_int8
from encoders.compute.bert import Bert, BertNames, BertShape
from encoders.errors import CheckpointError

_BERT: Final = BertNames(
    word="embeddings.word_embeddings",
    position="embeddings.position_embeddings",
    type="embeddings.token_type_embeddings",
    embedding_norm="embeddings.LayerNorm",
    query="encoder.layer.{}.attention.self.query",
    key="encoder.layer.{}.attention.self.key",
    value="encoder.layer.{}.attention.self.value",
    attention_out="encoder.layer.{}.attention.output.dense",
    attention_norm="encoder.layer.{}.attention.output.LayerNorm",
    up="encoder.layer.{}.intermediate.dense",
    down="encoder.layer.{}.output.dense",
    output_norm="encoder.layer.{}.output.LayerNorm",
    head="cls.predictions.transform.dense",
    head_norm="cls.predictions.transform.LayerNorm",
)
_DISTILBERT: Final = BertNames(
    word="embeddings.word_embeddings",
    position="embeddings.position_embeddings",
    type=None,
    embedding_norm="embeddings.LayerNorm",
    query="transformer.layer.{}.attention.q_lin",
    key="transformer.layer.{}.attention.k_lin",
    value="transformer.layer.{}.attention.v_lin",
    attention_out="transformer.layer.{}.attention.out_lin",
    attention_norm="transformer.layer.{}.sa_layer_norm",
    up="transformer.layer.{}.ffn.lin1",
    down="transformer.layer.{}.ffn.lin2",
    output_norm="transformer.layer.{}.output_layer_norm",
    head="vocab_transform",
    head_norm="vocab_layer_norm",
)


class _Family(NamedTuple):
    """How an architecture's files are read."""

    names: BertNames
    prefix: str  # of the body's parameters
    decoder: str  # the projection onto the vocabulary
    sizes: tuple[str, str, str, str]  # keys of config.json: hidden size, intermediate size, layers, heads
    has_epsilon: bool  # whether config.json has the layer norms' epsilon


_EPSILON: Final = 1e-12
_FAMILIES: Final[Mapping[str, _Family]] = {
    "bert": _Family(
        _BERT,
        "bert.",
        "cls.predictions.decoder",
        ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        has_epsilon=True,
    ),
    "distilbert": _Family(
        _DISTILBERT, "distilbert.", "vocab_projector", ("dim", "hidden_dim", "n_layers", "n_heads"), has_epsilon=False
    ),
}
# The keys of config.json that change what is computed, and the only value that is read here.
_ONLY: Final[Mapping[str, Any]] = {
    "hidden_act": "gelu",
    "activation": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "auto_map": None,
    "quantization_config": None,
}


def read_bert(folder: Path, dtype: torch.dtype, *, masked_lm: bool) -> tuple[Bert, nn.Linear | None] | None:
    """Return the model and, with `masked_lm`, its projection onto the vocabulary [terms, hidden_size], both in `dtype`.

    None where transformers has to read the folder.
    """
    config = read_object(folder / "config.json")
    known = _family(config)
    if known is None:
        return None
    family, shape = known
    try:
        tensors = _tensors(folder, family.prefix)
        if tensors is None:
            return None
        bert = Bert(tensors, family.names, shape, dtype, head=masked_lm)
        return bert, _projection(tensors, family, shape, config).to(dtype) if masked_lm else None
    except (KeyError, ValueError, CheckpointError):
        return None


def _family(config: Mapping[str, Any]) -> tuple[_Family, BertShape] | None:
    """Return the family and the shape; None for other architectures."""
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is None or any(config.get(key, value) not in (value, None) for key, value in _ONLY.items()):
        return None
    given = [config.get(key) for key in (*family.sizes, "vocab_size", "max_position_embeddings")]
    numbers = [number for number in given if isinstance(number, int) and not isinstance(number, bool) and number > 0]
    if len(numbers) < len(given):
        return None
    epsilon = config.get("layer_norm_eps", _EPSILON) if family.has_epsilon else _EPSILON
    size, wide, layers, heads, vocabulary, positions = numbers
    shape = BertShape(size, wide, layers, heads, vocabulary, positions, epsilon)
    return (family, shape) if isinstance(epsilon, float) and shape.hidden_size % shape.heads == 0 else None


def _tensors(folder: Path, prefix: str) -> dict[str, Tensor] | None:
    """Return the folder's weights without the body's prefix; None unless they are in one file."""
    if (folder / INT8_FILE).is_file():
        tensors = load_int8(folder / INT8_FILE)
    elif (folder / "model.safetensors").is_file():
        try:
            tensors = load_file(folder / "model.safetensors")
        except (OSError, SafetensorError):
            return None
    else:
        return None
    if any(not tensor.is_floating_point() for name, tensor in tensors.items() if not name.endswith("position_ids")):
        return None
    # Old files name a layer norm's parameters gamma and beta; transformers renames them.
    return None if any(name.endswith(".gamma") for name in tensors) else _without(prefix, tensors)


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _projection(
    tensors: Mapping[str, Tensor], family: _Family, shape: BertShape, config: Mapping[str, Any]
) -> nn.Linear:
    """Return the masked language model's last layer in float32, for inference."""
    tied = [f"{family.names.word}.weight"] if config.get("tie_word_embeddings", True) else []
    weight = _same(tensors, [f"{family.decoder}.weight", *tied])
    bias = _same(tensors, [f"{family.decoder}.bias", "cls.predictions.bias"])
    if weight.shape != (shape.vocabulary, shape.hidden_size) or bias.shape != (shape.vocabulary,):
        raise ValueError(f"{family.decoder} does not fit config.json")
    layer = nn.Linear(shape.hidden_size, shape.vocabulary, device="meta")
    layer.weight = nn.Parameter(weight.float(), requires_grad=False)
    layer.bias = nn.Parameter(bias.float(), requires_grad=False)
    return layer.eval()


def _same(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Return the tensor of these names, of which a file may have several; raise ValueError where they differ."""
    found = [tensors[name] for name in names if name in tensors]
    if not found:
        raise KeyError(names[0])
    if any(not torch.equal(found[0], other) for other in found[1:]):
        raise ValueError(f"{' and '.join(names)} differ")
    return found[0]
