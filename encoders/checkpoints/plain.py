"""Layout 1: a folder as transformers writes it, config.json of a `*ForMaskedLM` beside weights and tokenizer."""

from __future__ import annotations

from pathlib import Path

from encoders.checkpoints.files import read_object
from encoders.checkpoints.source import SideSource, Sources
from encoders.errors import CheckpointError
from encoders.sides.settings import SideSettings


def read_plain(folder: Path) -> Sources:
    """Return SPLADE's settings (max pooling, log1p(relu)) for both sides."""
    config = read_object(folder / "config.json")
    architectures = config.get("architectures") or []
    if not any(str(name).endswith("ForMaskedLM") for name in architectures):
        raise CheckpointError(
            f"{folder / 'config.json'}: architectures is {architectures}, not a masked language model (*ForMaskedLM). "
            "A dense embedding model has no vocabulary head, so it makes no sparse vectors"
        )
    source = SideSource(folder, SideSettings())
    return Sources(queries=source, documents=source)
