"""Layout 1: a folder as transformers writes it, config.json beside weights and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.checkpoints.files import read_object
from encoders.checkpoints.source import SideSource, Sources
from encoders.errors import CheckpointError
from encoders.sides.settings import Family, SideSettings


def read_plain(folder: Path, settings: Mapping[str, Any]) -> Sources:
    """Return SPLADE's settings (max pooling, log1p(relu)) for both sides.

    A decoder says nothing of how it was trained to read, so the caller's `settings` must: family="echo".
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} holds no checkpoint: no encoder.json, modules.json, adapter_config.json or config.json"
        )
    architectures = [str(name) for name in read_object(folder / "config.json").get("architectures") or []]
    if any(name.endswith("ForCausalLM") for name in architectures):
        if settings.get("family") != Family.ECHO:
            raise CheckpointError(
                f"{folder} is a decoder ({architectures[0]}); if it was trained with echo embeddings, say family='echo'"
            )
        source = SideSource(folder, SideSettings(family=Family.ECHO))
    elif any(name.endswith("ForMaskedLM") for name in architectures):
        source = SideSource(folder, SideSettings())
    else:
        raise CheckpointError(
            f"{folder / 'config.json'}: architectures is {architectures}, not a masked language model (*ForMaskedLM). "
            "A dense embedding model has no vocabulary head, so it makes no sparse vectors"
        )
    return Sources(queries=source, documents=source)
