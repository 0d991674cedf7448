"""CSR: a dense embedding, which an autoencoder makes sparse; its latents are the terms.

    x      = mean (or maximum, first, last, ...) of the positions' hidden states, of length 1 if the checkpoint says so
    latent = relu(top_k(W (x - pre_bias) + latent_bias))

"Beyond Matryoshka: Revisiting Sparse Coding for Adaptive Representation" (Wen et al. 2025), as in
sentence-transformers. k is `max_active_dims`. A latent is a direction of meaning, not a word: no word of a text can be
marked as the origin of a term.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.compute.transformer import Body
from encoders.settings import Pooling, SideSettings
from encoders.sides.transformer_side import TransformerSide
from encoders.text.tokenization import Tokenization

_LAYER_NORM_EPSILON = 1e-5  # sentence-transformers'


@dataclass(frozen=True)
class Autoencoder:
    """The encoding half: float32 tensors on the model's device."""

    pre_bias: Tensor  # [size]
    weight: Tensor  # [latents, size]
    latent_bias: Tensor  # [latents]
    unit_length: bool  # whether the embedding is normalised to length 1
    layer_norm: bool  # ... and then to mean 0 and standard deviation 1

    def latents(self, embeddings: Tensor) -> Tensor:
        """Return relu of the latents, float32 [n, latents], of embeddings float32 [n, size]; pruning keeps the top
        k, since the k largest above zero are the same before and after relu."""
        if self.unit_length:
            embeddings = F.normalize(embeddings, dim=-1)
        if self.layer_norm:
            embeddings = embeddings - embeddings.mean(dim=-1, keepdim=True)
            embeddings = embeddings / (embeddings.std(dim=-1, keepdim=True) + _LAYER_NORM_EPSILON)
        return F.relu(F.linear(embeddings - self.pre_bias, self.weight, self.latent_bias))


class AutoencoderSide(TransformerSide):
    """A transformer, a pooling to one embedding per text, and a sparse autoencoder."""

    def __init__(
        self, tokenization: Tokenization, settings: SideSettings, body: Body, autoencoder: Autoencoder
    ) -> None:
        super().__init__(tokenization, settings, int(autoencoder.weight.shape[0]), body)
        self.autoencoder = autoencoder

    def weights(self, ids: list[list[int]]) -> Tensor:
        """Return float32 [len(ids), latents]."""
        parts = torch.split(self.body(ids).float(), [len(one) for one in ids])
        return self.autoencoder.latents(torch.stack([self._embedding(part) for part in parts]))

    def _embedding(self, states: Tensor) -> Tensor:
        """Return float32 [size] of a text's states [length, size]; zeros for a text without a token."""
        if not len(states):
            return states.new_zeros(states.shape[1])
        match self.settings.pooling:
            case Pooling.FIRST:
                return states[0]
            case Pooling.LAST:
                return states[-1]
            case Pooling.MAX:
                return states.amax(dim=0)
            case Pooling.WEIGHTED_MEAN:
                weights = torch.arange(1, len(states) + 1, device=states.device, dtype=states.dtype)
                return weights @ states / weights.sum()
            case Pooling.MEAN_SQRT:
                return states.sum(dim=0) / math.sqrt(len(states))
            case _:
                return states.mean(dim=0)
