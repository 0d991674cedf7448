"""The weights of a pooled side for documents, from vectors that its body computes once and that are kept by text.

The body reads each text once for all uses: training, the encoder as its own teacher, several runs with one cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from encoders.compute.batches import token_batches
from encoders.compute.rows import to_csr
from encoders.sides.pooled import PooledSide
from encoders.sides.rows import prune
from lsr.training.text_vectors import VECTORS, text_vectors

_TOKENS = 4096  # per batch of the body
_BATCH = 64  # documents x terms at a time


def pooled_vectors(
    side: PooledSide,
    fingerprint: str,
    texts: Sequence[str],
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float16]:
    """Return float16 [len(texts), size], read or from `cache`; `fingerprint` is the encoder's."""
    return text_vectors(cache / VECTORS, f"pooled {fingerprint}", texts, lambda new: _read(side, new), progress)


@torch.inference_mode()
def encode_pooled(side: PooledSide, texts: Sequence[str], vectors: NDArray[np.float16]) -> csr_array:
    """Return the weights of texts with known vectors, float16 [len(texts), size]: float32 [len(texts), terms]."""
    blocks = []
    for start in range(0, len(texts), _BATCH):
        part = slice(start, start + _BATCH)
        pooled = torch.from_numpy(vectors[part].astype(np.float32)).to(side.head.factor.device)
        blocks.append(to_csr(side.weights_of(pooled, side.ids(texts[part]))))
    return prune(vstack(blocks, format="csr"), side.settings)


@torch.inference_mode()
def _read(side: PooledSide, texts: list[str]) -> NDArray[np.float16]:
    found = np.zeros((len(texts), side.dense_size), dtype=np.float16)
    limit = side.settings.max_length
    ids = side.ids(texts)
    lengths = [len(one) if limit is None else min(len(one), limit) for one in ids]
    for batch in token_batches(lengths, _TOKENS):
        found[batch] = side.pooled([ids[i] for i in batch]).half().cpu().numpy()
    return found
