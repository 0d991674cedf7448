"""What the reader of a layout finds out about the sides, before weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from encoders.settings import SideSettings


@dataclass(frozen=True)
class SideSource:
    """The files of one side, and its settings from the checkpoint."""

    folder: Path  # of tokenizer and model
    settings: SideSettings
    static_weights: Path | None = None  # idf.json, or a safetensors/.bin file with a tensor `weight` or `scale`
    adapter: Path | None = None  # folder of a LoRA adapter on the model in `folder`
    tokenizer_folder: Path | None = None  # if the tokenizer is not in `folder`
    autoencoder: Path | None = None  # folder of a sparse autoencoder over the model's embeddings
    graph: Path | None = None  # an ONNX graph instead of a model
    base_config: str | None = None  # JSON: the transformer's config.json, where the one in `folder` is a wrapper's
    unit_length: bool = False  # whether those embeddings are normalised to length 1 first

    @property
    def layers(self) -> Path:
        """The folder of the linear layers that a side has besides its model: with an adapter they are next to that."""
        return self.adapter or self.folder


@dataclass(frozen=True)
class Sources:
    """Both sides of a checkpoint; the same source twice if the sides share one model."""

    queries: SideSource
    documents: SideSource
