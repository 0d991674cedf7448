"""A body without a transformer: a text's vector is a weighted mean of fixed vectors of its tokens.

    pooled(text) = offset + sum of weight[t] * vector[t] over its tokens t  /  sum of weight[t]        then length 1

As in Model2Vec (Minish Lab 2024), the vectors are learned from a sentence encoder's, here by
encoders.training.static_body. A text costs one row of the table for each token, and no product of matrices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from encoders.compute.transformer import Projection

KIND = "static"  # `body` in config.json, which has no model_type: it is not a model of transformers
FILE = "static_body.safetensors"


class StaticBody(nn.Module):
    """vectors float32 [tokens, size], token_weights float32 [tokens] (0: left out), offset float32 [size]."""

    vectors: Tensor
    token_weights: Tensor
    offset: Tensor

    def __init__(
        self, vectors: Tensor, token_weights: Tensor, offset: Tensor, *, dtype: torch.dtype = torch.float32
    ) -> None:
        """`dtype` is for what reads the means; they are computed in float32.

        Raises ValueError for shapes that do not fit and for weights below zero.
        """
        super().__init__()
        self._dtype = dtype
        if vectors.ndim != 2 or token_weights.shape != vectors.shape[:1] or offset.shape != vectors.shape[1:]:
            raise ValueError(
                f"vectors {list(vectors.shape)}, weights {list(token_weights.shape)} and offset {list(offset.shape)} "
                "do not fit"
            )
        if not bool((token_weights >= 0).all()):
            raise ValueError("a token's weight is below zero")
        for name, tensor in (("vectors", vectors), ("token_weights", token_weights), ("offset", offset)):
            self.register_buffer(name, tensor.float().contiguous())
        # A column more, which sums the weights.
        weighted = torch.cat([self.vectors * self.token_weights[:, None], self.token_weights[:, None]], dim=1)
        self.register_buffer("_weighted", weighted.contiguous(), persistent=False)

    @property
    def device(self) -> torch.device:
        """The device of the vectors."""
        return self.vectors.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the products with the means, float32 or bfloat16."""
        return self._dtype

    @property
    def hidden_size(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    def means(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return offset + the weighted mean of each text's vectors, float32 [len(ids), hidden_size].

        The mean of a text without a token that counts is zeros.
        """
        lengths = torch.tensor([0, *map(len, ids)], dtype=torch.int64)
        flat = torch.tensor([token for one in ids for token in one], dtype=torch.int64)
        offsets = lengths.cumsum(0)[:-1]
        table: Tensor = self._weighted  # type: ignore[assignment]
        sums = F.embedding_bag(flat.to(self.device), table, offsets.to(self.device), mode="sum")
        return self.offset + sums[:, :-1] / sums[:, -1:].clamp_min(1e-12)

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return the vector of each token, float32 [sum of lengths, hidden_size]."""
        return self.vectors[torch.tensor([token for one in ids for token in one], device=self.device)]

    def with_states(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return the vectors twice: there are no layers."""
        vectors = self(ids)
        return vectors, vectors

    def save(self, folder: Path, projection: Projection | None) -> None:
        """Write config.json and static_body.safetensors (encoders.checkpoints.static_body reads them).

        Raises ValueError for a projection, which a static body does not have.
        """
        if projection is not None:
            raise ValueError("a static body has no projection onto the vocabulary")
        save_file({name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}, folder / FILE)
        sizes = {"body": KIND, "vocab_size": len(self.vectors), "hidden_size": self.hidden_size}
        (folder / "config.json").write_text(json.dumps(sizes, indent=2) + "\n")

    @property
    def model(self) -> NoReturn:
        """Raises TypeError: there is no transformers model."""
        raise TypeError("a static body has no transformers model")
