"""Text to sparse vectors: BM25, and the learned encoders of the SPLADE family.

`load_encoder(name_or_path)` returns an `Encoder`. Importing this package loads nothing heavy (PEP 562); BM25 loads
neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from encoders.errors import (
    CheckpointError,
    DeviceUnavailable,
    EncoderError,
    ModelsMissing,
    RemoteCodeRefused,
    SettingError,
    StatisticsMissing,
    TextError,
    UnknownEncoder,
)

if TYPE_CHECKING:
    from encoders.bm25 import BM25Encoder
    from encoders.dense import load_dense_encoder, load_dense_with_settings
    from encoders.encoder import CorpusStatistics, DenseEncoder, Encoder, Vocabulary
    from encoders.loading import load_encoder, load_with_settings
    from encoders.vocabulary import FixedVocabulary, GrowingVocabulary

__all__ = [
    "BM25Encoder",
    "CheckpointError",
    "CorpusStatistics",
    "DenseEncoder",
    "DeviceUnavailable",
    "Encoder",
    "EncoderError",
    "FixedVocabulary",
    "GrowingVocabulary",
    "ModelsMissing",
    "RemoteCodeRefused",
    "SettingError",
    "StatisticsMissing",
    "TextError",
    "UnknownEncoder",
    "Vocabulary",
    "load_dense_encoder",
    "load_dense_with_settings",
    "load_encoder",
    "load_with_settings",
]

_HOMES = {
    "BM25Encoder": "encoders.bm25",
    "CorpusStatistics": "encoders.encoder",
    "DenseEncoder": "encoders.encoder",
    "Encoder": "encoders.encoder",
    "FixedVocabulary": "encoders.vocabulary",
    "GrowingVocabulary": "encoders.vocabulary",
    "Vocabulary": "encoders.encoder",
    "load_dense_encoder": "encoders.dense",
    "load_dense_with_settings": "encoders.dense",
    "load_encoder": "encoders.loading",
    "load_with_settings": "encoders.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
