"""What a layout's reader finds out about one side, before anything heavy is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from encoders.settings import SideSettings


@dataclass(frozen=True)
class SideSource:
    """Where one side's files lie, and the settings that its checkpoint gives it."""

    folder: Path  # of tokenizer and model
    settings: SideSettings
    static_weights: Path | None = None  # idf.json, or a safetensors/.bin file with a tensor `weight`
    adapter: Path | None = None  # folder of a LoRA adapter on the model in `folder`
    tokenizer_folder: Path | None = None  # where the tokenizer is not beside the model
    autoencoder: Path | None = None  # folder of a sparse autoencoder over the model's embeddings
    graph: Path | None = None  # an ONNX graph in the place of a model
    unit_length: bool = False  # whether those embeddings are brought to length 1 before


@dataclass(frozen=True)
class Sources:
    """Both sides of a checkpoint; the same source twice where the two share one model."""

    queries: SideSource
    documents: SideSource
