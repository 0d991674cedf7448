"""The forward pass of BERT and DistilBERT on a CPU, for inference.

    x      = norm(word[token] + position[i] + type[0])
    x      = norm(x + W_o attention(W_q x, W_k x, W_v x))                       for each layer
    x      = norm(x + W_down gelu(W_up x))
    hidden = norm(gelu(W_h x))                                                  with a masked language model's head

The numbers are those of transformers' BertModel, up to rounding, in about half of its time: seven calls of torch for
each layer in place of about forty, query, key and value as one product, and packed weights
(encoders.compute.packed_linear; measured in docs/decisions/0210).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.compute.packed_linear import PackedLinear


@dataclass(frozen=True)
class BertShape:
    """The numbers of config.json that the forward pass needs."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    vocabulary: int
    positions: int
    epsilon: float


@dataclass(frozen=True)
class BertNames:
    """What a family's files call its parameters, without .weight and .bias; `{}` is a layer's number."""

    word: str
    position: str
    type: str | None
    embedding_norm: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    up: str
    down: str
    output_norm: str
    head: str
    head_norm: str


class _Norm(NamedTuple):
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.epsilon)


class _Layer(NamedTuple):
    query_key_value: PackedLinear
    attention_out: PackedLinear
    attention_norm: _Norm
    up: PackedLinear
    down: PackedLinear
    output_norm: _Norm


class Bert:
    """Token ids to hidden states, without gradients. Safe to call from many threads."""

    def __init__(
        self, tensors: Mapping[str, Tensor], names: BertNames, shape: BertShape, dtype: torch.dtype, *, head: bool
    ) -> None:
        """Copies `tensors`, of any float dtype; with `head`, also a masked LM's layer before the projection.

        Raises KeyError for a missing tensor, ValueError for one of another shape than `shape` says.
        """
        self.shape = shape
        self.dtype = dtype
        weights = _Weights(tensors, shape, dtype)
        size, wide = shape.hidden_size, shape.intermediate_size
        hides_avx512 = dtype == torch.bfloat16 and torch.backends.cpu.get_cpu_capability() != "AVX512"
        self._attention = _plain_attention if hides_avx512 else F.scaled_dot_product_attention
        self._word = weights.table(names.word, shape.vocabulary).to(dtype)
        position = weights.table(names.position, shape.positions)
        self._position = (position if names.type is None else position + weights.first_row(names.type)).to(dtype)
        self._embedding_norm = weights.norm(names.embedding_norm)
        self._layers = [
            _Layer(
                weights.linears([name.format(at) for name in (names.query, names.key, names.value)], size, size),
                weights.linears([names.attention_out.format(at)], size, size),
                weights.norm(names.attention_norm.format(at)),
                weights.linears([names.up.format(at)], wide, size),
                weights.linears([names.down.format(at)], size, wide),
                weights.norm(names.output_norm.format(at)),
            )
            for at in range(shape.layers)
        ]
        self._head = (weights.linears([names.head], size, size), weights.norm(names.head_norm)) if head else None

    def __call__(self, ids: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
        """Return the hidden states and the last layer's states, [sum of lengths, hidden_size] each, text after text.

        They are the same tensor without a head. A text has 1 to `shape.positions` tokens.
        """
        longest = max(len(one) for one in ids)
        tokens = torch.tensor([[*one, *[pad_id] * (longest - len(one))] for one in ids])
        text = _text_mask([len(one) for one in ids], longest)
        states = self._states(tokens, text)
        states = states.flatten(0, 1) if text is None else states[text]
        if self._head is None:
            return states, states
        transform, norm = self._head
        return norm(transform.gelu(states)), states

    def _states(self, tokens: Tensor, text: Tensor | None) -> Tensor:
        texts, length = tokens.shape
        mask = None if text is None else text[:, None, None, :]
        x = self._embedding_norm(F.embedding(tokens, self._word) + self._position[:length])
        for layer in self._layers:
            parts = layer.query_key_value(x).view(texts, length, 3, self.shape.heads, -1)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            attended = self._attention(query, key, value, attn_mask=mask)
            x = layer.attention_norm(layer.attention_out.plus(attended.transpose(1, 2).flatten(2), x))
            x = layer.output_norm(layer.down.plus(layer.up.gelu(x), x))
        return x


def _plain_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
    """Return attention without torch's fused kernel, which in torch 2.13 fails in bfloat16 for 64 tokens and more where
    ATEN_CPU_CAPABILITY hides AVX-512."""
    scores = (query @ key.transpose(-2, -1)).float() * query.shape[-1] ** -0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    return torch.softmax(scores, dim=-1).to(value.dtype) @ value


def _text_mask(lengths: Sequence[int], longest: int) -> Tensor | None:
    """Return bool [texts, longest], true where a text has a token; None where all have as many."""
    if min(lengths) == longest:
        return None
    return torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]


class _Weights:
    """Parameters by name, with the shape they must have."""

    def __init__(self, tensors: Mapping[str, Tensor], shape: BertShape, dtype: torch.dtype) -> None:
        self._tensors, self._shape, self._dtype = tensors, shape, dtype

    def table(self, name: str, rows: int) -> Tensor:
        """Return float32 [rows, hidden_size]."""
        return self._read(f"{name}.weight", (rows, self._shape.hidden_size))

    def first_row(self, name: str) -> Tensor:
        """Return the first row of a table of any length, float32 [hidden_size]."""
        return self._tensors[f"{name}.weight"][0].float()

    def norm(self, name: str) -> _Norm:
        """Return a layer norm over hidden_size."""
        weight, bias = (self._read(f"{name}.{part}", (self._shape.hidden_size,)) for part in ("weight", "bias"))
        return _Norm(weight.to(self._dtype), bias.to(self._dtype), self._shape.epsilon)

    def linears(self, names: Sequence[str], outputs: int, inputs: int) -> PackedLinear:
        """Return layers that read the same input as one, with their outputs one after the other."""
        weight = torch.cat([self._read(f"{name}.weight", (outputs, inputs)) for name in names])
        bias = torch.cat([self._read(f"{name}.bias", (outputs,)) for name in names])
        return PackedLinear(weight.to(self._dtype), bias.to(self._dtype))

    def _read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise ValueError(f"{name} has the shape {list(tensor.shape)}, not {list(shape)}")
        return tensor.float()
