"""Decoder-only encoders with echo embeddings: the text is read twice, and only the second copy is pooled.

A decoder's position attends only to earlier ones, so that in the first copy an early token has no information about
the rest. In the second copy every token has attended to the whole text (Springer et al. 2024; Mistral-SPLADE, Doshi
et al. 2024).
The sequence is the text with the tokenizer's special tokens, then the bare text again; max_length bounds each copy.
"""

from __future__ import annotations

from itertools import compress

import torch
from torch import Tensor

from encoders.sides.masked_lm import MaskedLMSide


class EchoSide(MaskedLMSide):
    """A causal language model with its vocabulary head."""

    def _read(self, ids: list[list[int]]) -> tuple[Tensor, list[int]]:
        """Return the hidden states of the second copies, and their number for each text."""
        bare = [list(compress(one, self.tokenization.own_positions(one))) for one in ids]
        hidden = self.body([one + again for one, again in zip(ids, bare, strict=True)])
        second = [[False] * len(one) + [True] * len(again) for one, again in zip(ids, bare, strict=True)]
        mask = torch.tensor([counted for one in second for counted in one], device=hidden.device)
        return hidden[mask], [len(again) for again in bare]
