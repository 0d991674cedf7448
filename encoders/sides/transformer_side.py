"""The loop around every model: tokenise, cut into batches by token count, compute, restore the order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from scipy.sparse import csr_array

from encoders.compute.batches import compute_each, token_batches
from encoders.compute.device import float32_products
from encoders.compute.rows import in_order, to_csr
from encoders.compute.transformer import Body
from encoders.settings import SideSettings, Windows
from encoders.sides.rows import merge_windows, prune
from encoders.text.tokenization import Tokenization

# Padded tokens per batch, by the bytes of a number. On a CPU each core computes a batch of its own, part of which
# should fit its caches, and memory of more than 32 MiB is released and faulted in again at every layer; a GPU must be
# filled.
_MAX_TOKENS = {2: 2048, 4: 1024}
_MAX_TOKENS_ELSEWHERE = 32_768
# On a CPU padding costs as much as text, and one more batch only as much as some tokens.
_MAX_PADDING = 32
# Up to here, which is some ten queries, one thread computes all.
_FEW_TOKENS = 256


_R = TypeVar("_R")


def batches_of(lengths: Sequence[int], device: torch.device, dtype: torch.dtype) -> list[list[int]]:
    """Return positions of texts of these lengths in tokens, each once, in batches that suit device and precision."""
    if device.type == "cpu":
        return list(token_batches(lengths, _MAX_TOKENS[dtype.itemsize], _MAX_PADDING))
    return list(token_batches(lengths, _MAX_TOKENS_ELSEWHERE))


def work_on_each(
    work: Callable[[list[list[int]]], _R], batches: list[list[list[int]]], device: torch.device
) -> list[_R]:
    """Return `work` of each batch of token ids, in order; on a CPU in a thread each."""
    if device.type != "cpu":
        return [work(batch) for batch in batches]
    tokens = sum(len(ids) for batch in batches for ids in batch)
    return compute_each(work, batches, small=tokens <= _FEW_TOKENS)


class BatchedSide(ABC):
    """A side that computes batch by batch. Subclasses define how token ids become dense weights."""

    @property
    def dtype(self) -> str | None:
        """The precision that the model computes in, such as "bfloat16"; None where that is not known."""
        return None

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
        self._device, self._dtype = device, dtype
        # float32 [n_terms]: 0 for the special tokens, 1 for all others.
        self.ordinary = torch.ones(n_terms, device=device)
        self.ordinary[sorted(token for token in tokenization.special_ids if token < n_terms)] = 0.0

    @abstractmethod
    def weights(self, ids: list[list[int]]) -> torch.Tensor:
        """Return float32 [len(ids), n_terms] on the model's device, differentiable where gradients are enabled.

        `ids` contain the special tokens.
        """

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the input of `weights`: token ids with the special tokens, cut at max_length."""
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
        batches = self._batches(ids)
        blocks = self._compute([[ids[position] for position in batch] for batch in batches])
        return in_order(blocks, [position for batch in batches for position in batch], self.n_terms)

    def _batches(self, ids: list[list[int]]) -> list[list[int]]:
        """Return positions of `ids`, each once, batch by batch."""
        return batches_of([len(one) for one in ids], self._device, self._dtype)

    def _compute(self, batches: list[list[list[int]]]) -> list[csr_array]:
        """Return the weights of each batch of token ids."""
        return [self._weights_without_gradient(batch) for batch in batches]

    def _weights_without_gradient(self, ids: list[list[int]]) -> csr_array:
        with torch.inference_mode(), float32_products(rows=sum(map(len, ids))):
            return to_csr(self.weights(ids))


class TransformerSide(BatchedSide):
    """A side with a transformer; its weights are differentiable."""

    def __init__(self, tokenization: Tokenization, settings: SideSettings, n_terms: int, body: Body) -> None:
        super().__init__(tokenization, settings, n_terms, body.device, body.dtype)
        self.body = body

    @property
    def dtype(self) -> str | None:
        """The precision that the model computes in, such as "bfloat16"."""
        return str(self.body.dtype).removeprefix("torch.")

    def _compute(self, batches: list[list[list[int]]]) -> list[csr_array]:
        return work_on_each(self._weights_without_gradient, batches, self.body.device)
