"""Layout of a plain dense retriever: a folder of sentence-transformers with Transformer, Pooling, perhaps Normalize.

Supported is pooling by mean or by the first token (CLS); anything else is refused. The vectors are always normalised to
length 1, so scores are cosines. Prompts, max_seq_length and do_lower_case are read as for the
sparse pipelines of the same package (sentence_transformers_layout).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from encoders.checkpoints.files import read_object
from encoders.checkpoints.sentence_transformers_layout import (
    Module,
    is_sentence_transformers,
    pooling_mode,
    read_modules,
    side_prompt,
    transformer_settings,
)
from encoders.checkpoints.sources import SideSource, Sources
from encoders.errors import CheckpointError
from encoders.settings import SideSettings

_PIPELINES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_MEAN = {"mean": True, "cls": False}


@dataclass(frozen=True)
class DensePipeline:
    """The transformer's folder with each side's settings, and whether its states are pooled by mean."""

    sources: Sources
    mean: bool


def is_dense_pipeline(folder: Path) -> bool:
    """Return whether the folder has this layout; raise CheckpointError, RemoteCodeRefused for a wrong modules.json."""
    return is_sentence_transformers(folder) and _names(read_modules(folder)) in _PIPELINES


def read_dense_pipeline(folder: Path) -> DensePipeline:
    """Return the pipeline; raise CheckpointError, naming file and value, for an unsupported one."""
    file = folder / "modules.json"
    modules = read_modules(folder)
    if _names(modules) not in _PIPELINES:
        raise CheckpointError(
            f"{file}: {' + '.join(_names(modules))} is not a supported dense retriever, which is Transformer + Pooling "
            "(+ Normalize)"
        )
    transformer, pooling = modules[0], modules[1][1]
    mode = pooling_mode(pooling)
    if mode not in _MEAN:
        raise CheckpointError(f"{pooling / 'config.json'}: the pooling {mode!r} is not supported; mean and cls are")
    common = folder / "config_sentence_transformers.json"
    config = read_object(common) if common.is_file() else {}
    sides = {}
    for side in ("query", "document"):
        settings = SideSettings(prompt=side_prompt(config, side))
        if settings.prompt and read_object(pooling / "config.json").get("include_prompt") is False:
            raise CheckpointError(f"{pooling / 'config.json'}: a pooling that excludes the prompt is not supported")
        settings = transformer_settings(settings, transformer, side, "feature-extraction")
        sides[side] = SideSource(transformer[1], settings)
    return DensePipeline(Sources(queries=sides["query"], documents=sides["document"]), _MEAN[mode])


def without_prompts(pipeline: DensePipeline) -> DensePipeline:
    """Return the pipeline with the document side as both sides, and without prompts."""
    documents = pipeline.sources.documents
    bare = dataclasses.replace(documents, settings=dataclasses.replace(documents.settings, prompt=""))
    return DensePipeline(Sources(queries=bare, documents=bare), pipeline.mean)


def _names(modules: list[Module]) -> list[str]:
    return [name for name, _ in modules]
