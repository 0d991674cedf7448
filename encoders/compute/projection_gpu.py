"""The projection onto the vocabulary and its maximum over positions, as one Triton kernel.

On a GPU not even a tile of the logits has to exist: a program processes one text and one block of terms, multiplies
block after block of positions, keeps the largest product of each term in registers, and writes one number per
(text, term). The chip writes texts x vocabulary instead of tokens x vocabulary, 100 to 500 times less; and there is
one launch, where the tiles of encoders.compute.projection need one small kernel per text and tile.

Neighbouring programs (axis 0) process different texts and the same terms, so that a block of weights is read from
memory once and then from the L2 cache. The block sizes are those of a plain half-precision matrix product and have
not been tuned: the kernel has run in Triton's interpreter (TRITON_INTERPRET=1) in float32 and float16, as in the
tests, and on no GPU yet.

Triton is part of the CUDA builds of torch. After Sparton, a fused head for learned sparse retrieval.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_POSITIONS = 64  # per block; the last block of a text is padded
_TERMS = 128
_COLUMNS = 64


def running_maximum(hidden: Tensor, spans: list[slice], weight: Tensor) -> Tensor:
    """Return max over the positions of each text of hidden @ weight.T, float32 [len(spans), vocabulary].

    hidden [tokens, size] and weight [vocabulary, size], contiguous, of one dtype (bfloat16, float16, float32; products
    are summed in float32); `spans` are the rows of hidden of each text, at least one each. For inference only.
    """
    n_terms, size = weight.shape
    places = torch.tensor([[span.start, span.stop] for span in spans], dtype=torch.int64, device=hidden.device)
    best = torch.empty((len(spans), n_terms), dtype=torch.float32, device=hidden.device)
    grid = (len(spans), triton.cdiv(n_terms, _TERMS))
    _running_maximum[grid](
        hidden.contiguous(),
        weight.contiguous(),
        places,
        best,
        n_terms,
        size,
        POSITIONS=_POSITIONS,
        TERMS=_TERMS,
        COLUMNS=_COLUMNS,
    )
    return best


@triton.jit
def _running_maximum(
    hidden,
    weight,
    places,
    best,
    n_terms,
    size,
    POSITIONS: tl.constexpr,
    TERMS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """best[text, v] = max over i in the text's places of hidden[i] . weight[v].

    Program (text, block of TERMS terms). hidden [tokens, size], weight [n_terms, size], places int64 [texts, 2],
    best float32 [texts, n_terms]. Oracle: (hidden[span] @ weight.T).amax(dim=0).
    """
    text = tl.program_id(0).to(tl.int64)
    terms = tl.program_id(1).to(tl.int64) * TERMS + tl.arange(0, TERMS)
    first = tl.load(places + 2 * text)
    end = tl.load(places + 2 * text + 1)
    known = terms < n_terms
    largest = tl.full((TERMS,), float("-inf"), tl.float32)
    for begin in range(first, end, POSITIONS):
        positions = begin + tl.arange(0, POSITIONS)
        there = positions < end
        products = tl.zeros((POSITIONS, TERMS), tl.float32)
        for offset in range(0, size, COLUMNS):
            columns = offset + tl.arange(0, COLUMNS)
            inside = columns < size
            states = tl.load(
                hidden + positions[:, None] * size + columns[None, :], mask=there[:, None] & inside[None, :], other=0.0
            )
            weights = tl.load(
                weight + terms[None, :] * size + columns[:, None], mask=known[None, :] & inside[:, None], other=0.0
            )
            # "ieee": float32 stays float32, where the default would round it to TF32.
            products = tl.dot(states, weights, products, input_precision="ieee")
        products = tl.where(there[:, None], products, float("-inf"))
        largest = tl.maximum(largest, tl.max(products, axis=0))
    tl.store(best + text * n_terms + terms, largest, mask=known)
