"""Layout 1: a folder as transformers writes it, with config.json, weights and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.checkpoints.files import read_object
from encoders.checkpoints.sources import SideSource, Sources
from encoders.errors import CheckpointError
from encoders.settings import Family, SideSettings

_DECODERS = ("ForCausalLM", "BiForMNTP")  # the second is the name for the bases of LLM2Vec and Lion


def read_plain(folder: Path, settings: Mapping[str, Any]) -> Sources:
    """Return SPLADE's settings (max pooling, log1p(relu)) for both sides.

    A decoder's files do not say how it was trained to read, so the caller's `settings` must: family="echo" or
    "bidirectional". Lion (Zeng et al. 2025) multiplies its logits by hidden_size ** -0.25.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} contains no checkpoint: no encoder.json, modules.json, adapter_config.json, config.json, *.onnx"
        )
    config = read_object(folder / "config.json")
    architectures = [str(name) for name in config.get("architectures") or []]
    if any(name.endswith(_DECODERS) for name in architectures):
        family = settings.get("family")
        if family == Family.ECHO:
            source = SideSource(folder, SideSettings(family=Family.ECHO))
        elif family == Family.BIDIRECTIONAL:
            size = config.get("hidden_size")
            if not isinstance(size, int) or size < 1:
                raise CheckpointError(f"{folder / 'config.json'}: hidden_size is {size!r}")
            source = SideSource(folder, SideSettings(family=Family.BIDIRECTIONAL, logit_scale=size**-0.25))
        else:
            raise CheckpointError(
                f"{folder} is a decoder ({architectures[0]}); set family='echo' if it was trained with echo embeddings "
                "(Mistral-SPLADE), or family='bidirectional' if every position attends to the whole text (Lion)"
            )
    elif any(name.endswith("ForMaskedLM") for name in architectures):
        source = SideSource(folder, SideSettings())
    else:
        raise CheckpointError(
            f"{folder / 'config.json'}: architectures is {architectures}, not a masked language model (*ForMaskedLM). "
            "A dense embedding model has no vocabulary head, so it cannot compute sparse vectors"
        )
    return Sources(queries=source, documents=source)
