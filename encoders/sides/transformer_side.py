"""The loop around every model: tokenise, cut into batches by token count, compute, put back in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from scipy.sparse import csr_array

from encoders.batching import token_batches
from encoders.compaction import in_order, to_csr
from encoders.float32_products import float32_products
from encoders.rows import merge_windows, prune
from encoders.sides.settings import SideSettings, Windows
from encoders.tokenization import Tokenization
from encoders.transformer import Body

# Padded tokens a batch, by the bytes of a number. More helps little on a CPU, where the caches are what counts, and
# where memory of more than 32 MiB is given back and faulted in again at every layer; a GPU must be filled.
_MAX_TOKENS = {2: 4096, 4: 2048}
_MAX_TOKENS_ELSEWHERE = 32_768
# On a CPU padding costs what text costs, and a further batch no more than some tokens.
_MAX_PADDING = 32


class BatchedSide(ABC):
    """A side that computes batch by batch. Subclasses say how token ids become dense weights."""

    def __init__(
        self,
        tokenization: Tokenization,
        settings: SideSettings,
        n_terms: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.tokenization = tokenization
        self.settings = settings
        self.n_terms = n_terms
        on_cpu = device.type == "cpu"
        self._max_tokens = _MAX_TOKENS[dtype.itemsize] if on_cpu else _MAX_TOKENS_ELSEWHERE
        self._max_padding = _MAX_PADDING if on_cpu else None
        # float32 [n_terms]: 0 for the special tokens, 1 for all others.
        self.ordinary = torch.ones(n_terms, device=device)
        self.ordinary[sorted(token for token in tokenization.special_ids if token < n_terms)] = 0.0

    @abstractmethod
    def weights(self, ids: list[list[int]]) -> torch.Tensor:
        """Return float32 [len(ids), n_terms] on the model's device, differentiable where gradients are enabled.

        `ids` hold the special tokens.
        """

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what `weights` takes: token ids with the special tokens, cut at max_length."""
        return self.tokenization.ids(texts)

    def encode(self, texts: Sequence[str]) -> csr_array:
        """Return float32 csr_array [len(texts), n_terms]."""
        if self.settings.windows is Windows.TRUNCATE:
            matrix = self._encode(self.ids(texts))
        else:
            windows = self.tokenization.windows(texts)
            matrix = self._encode([ids for pieces in windows for ids in pieces])
            owners = [row for row, pieces in enumerate(windows) for _ in pieces]
            matrix = merge_windows(matrix, owners, len(texts), self.settings.windows)
        return prune(matrix, self.settings)

    def _encode(self, ids: list[list[int]]) -> csr_array:
        blocks: list[csr_array] = []
        positions: list[int] = []
        for batch in token_batches([len(one) for one in ids], self._max_tokens, self._max_padding):
            texts = [ids[position] for position in batch]
            with torch.inference_mode(), float32_products(rows=sum(map(len, texts))):
                blocks.append(to_csr(self.weights(texts)))
            positions += batch
        return in_order(blocks, positions, self.n_terms)


class TransformerSide(BatchedSide):
    """A side with a transformer, whose weights are differentiable."""

    def __init__(self, tokenization: Tokenization, settings: SideSettings, n_terms: int, body: Body) -> None:
        super().__init__(tokenization, settings, n_terms, body.device, body.dtype)
        self.body = body
