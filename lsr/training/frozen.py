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
from lsr.training.teachers import VECTORS, DenseScores
from lsr.training.text_vectors import text_vectors

_TOKENS = 4096  # of a batch


def freeze_documents(
    encoder: LearnedEncoder, config: TrainingConfig, pairs: Pairs, cache: Path, surroundings: Surroundings
) -> FrozenDocuments | None:
    """Return the documents' vectors and impacts for a pooled side; None for any other, whose body is trained."""
    side = encoder.documents
    if not isinstance(side, PooledSide):
        return None
    backbone = config.model.backbone
    if backbone is not None and backbone in config.teachers.dense:
        teacher = DenseScores(backbone, config.model.max_length, pairs, cache, surroundings)
        if teacher.max_length == side.settings.max_length:
            return FrozenDocuments(side, pairs.documents, teacher.documents)

    surroundings.say(f"reading {len(pairs.documents):,} documents once; the body is not trained")
    key = f"pooled {encoder.fingerprint}"
    vectors = text_vectors(
        cache / VECTORS, key, pairs.documents, lambda texts: _pooled(side, texts), surroundings.phase("documents")
    )
    return FrozenDocuments(side, pairs.documents, vectors)


@torch.inference_mode()
def _pooled(side: PooledSide, texts: list[str]) -> NDArray[np.float16]:
    """Return float16 [len(texts), size]."""
    size = int(side.body.model.config.hidden_size)
    found = np.zeros((len(texts), size), dtype=np.float16)
    limit = side.settings.max_length
    ids = side.ids(texts)
    lengths = [len(one) if limit is None else min(len(one), limit) for one in ids]
    for batch in token_batches(lengths, _TOKENS):
        found[batch] = side.pooled([ids[i] for i in batch]).half().cpu().numpy()
    return found
