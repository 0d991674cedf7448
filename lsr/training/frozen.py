"""The vectors of the training documents for a side whose body is not trained, kept in the run's cache.

Where the backbone is also the dense teacher, the teacher's vectors are used: the transformer reads each document only
once.
"""

from __future__ import annotations

from pathlib import Path

from encoders.compute.static_body import StaticBody
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledSide
from encoders.training.frozen_documents import FrozenDocuments, LiveDocuments
from lsr.errors import SettingsError
from lsr.training.config import TrainingConfig
from lsr.training.context import RunContext
from lsr.training.pairs import Pairs
from lsr.training.pooled_documents import pooled_vectors
from lsr.training.teachers import DenseScores


def freeze_documents(
    encoder: LearnedEncoder, config: TrainingConfig, pairs: Pairs, cache: Path, context: RunContext
) -> FrozenDocuments | LiveDocuments | None:
    """Return the documents' vectors and impacts for a pooled side; None for any other, whose body is trained.

    With `train_body` a pooled side's body reads the documents at each step. Raises SettingsError for a static one.
    """
    side = encoder.documents
    if not isinstance(side, PooledSide):
        return None
    backbone = config.model.backbone
    static = isinstance(side.body, StaticBody)
    if config.model.train_body:
        if static:
            raise SettingsError("[model] train_body: a static body is learned before the first step, and not trained")
        return LiveDocuments(side)
    if backbone is not None and backbone in config.teachers.dense and not static:
        teacher = DenseScores(backbone, config.model.max_length, pairs, cache, context)
        if teacher.max_length == side.settings.max_length:
            return FrozenDocuments(side, pairs.documents, teacher.documents)

    context.say(f"reading {len(pairs.documents):,} documents once; the body is not trained")
    vectors = pooled_vectors(side, encoder.fingerprint, pairs.documents, cache, context.phase("documents"))
    return FrozenDocuments(side, pairs.documents, vectors)
