"""The vectors of the training documents for a side whose body is not trained, kept in the run's cache.

Where the backbone is the dense teacher as well, its vectors of the documents are the ones: the transformer reads each
document once in all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.batching import token_batches
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledSide
from encoders.training.frozen_documents import FrozenDocuments
from lsr.training.config import TrainingConfig
from lsr.training.pairs import Pairs
from lsr.training.surroundings import Surroundings
from lsr.training.teachers import DenseScores, cached

_TOKENS = 4096  # of a batch
_CHUNK = 8192  # texts sorted by length together


def freeze_documents(
    encoder: LearnedEncoder,
    config: TrainingConfig,
    pairs: Pairs,
    data_hash: str,
    cache: Path,
    surroundings: Surroundings,
) -> FrozenDocuments | None:
    """Return the documents' vectors and impacts for a pooled side; None for any other, whose body is trained."""
    side = encoder.documents
    if not isinstance(side, PooledSide):
        return None
    backbone = config.model.backbone
    if backbone is not None and backbone in config.teachers.dense:
        teacher = DenseScores(backbone, pairs, data_hash, cache, device=surroundings.device, say=surroundings.say)
        if teacher.max_length == side.settings.max_length:
            return FrozenDocuments(side, pairs.documents, teacher.documents)

    def read() -> NDArray[np.float16]:
        surroundings.say(f"reading {len(pairs.documents):,} documents once; the body is not trained")
        return _pooled(side, pairs.documents)

    return FrozenDocuments(side, pairs.documents, cached(cache, f"pooled {encoder.fingerprint} {data_hash}", read))


@torch.inference_mode()
def _pooled(side: PooledSide, texts: list[str]) -> NDArray[np.float16]:
    """Return float16 [len(texts), size]."""
    size = int(side.body.model.config.hidden_size)
    found = np.zeros((len(texts), size), dtype=np.float16)
    limit = side.settings.max_length
    for start in range(0, len(texts), _CHUNK):
        ids = side.ids(texts[start : start + _CHUNK])
        lengths = [len(one) if limit is None else min(len(one), limit) for one in ids]
        for batch in token_batches(lengths, _TOKENS):
            found[[start + i for i in batch]] = side.pooled([ids[i] for i in batch]).half().cpu().numpy()
    return found
