"""This project's own layout: encoder.json with the settings of both sides, and a folder for each.

encoder.json    {"format": 1, "queries": {"folder": "queries", "settings": {...}}, "documents": {...}}
documents/      as transformers writes it, or as peft writes an adapter; with term_weights.safetensors in an MLP, EPIC
                or literal side, literal_residual.safetensors in a PROSPER one, pooled_head.safetensors in a pooled
                one; matrices may be in int8 (encoders.checkpoints.int8)
queries/        the same; or tokenizer and static_weights.safetensors (`weight`, and the training texts' `idf` for
                collection_idf); missing where it shares the document model
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders.checkpoints.files import inside, read_object
from encoders.checkpoints.sources import SideSource, Sources
from encoders.errors import CheckpointError, SettingError
from encoders.settings import SideSettings

FILE = "encoder.json"
FORMAT = 1
STATIC_WEIGHTS = "static_weights.safetensors"
TERM_WEIGHTS = "term_weights.safetensors"
LITERAL_RESIDUAL = "literal_residual.safetensors"
POOLED_HEAD = "pooled_head.safetensors"
POOLED_HEAD_INT8 = "pooled_head.int8.safetensors"


def is_own(folder: Path) -> bool:
    """Return whether the folder has this layout."""
    return (folder / FILE).is_file()


def read_own(folder: Path) -> Sources:
    """Return both sides; raise CheckpointError for an invalid encoder.json."""
    file = folder / FILE
    content = read_object(file)
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{file}: format {content.get('format')!r} is not {FORMAT}, the only one that this version reads"
        )
    return Sources(
        queries=_read_side(folder, content.get("queries"), file),
        documents=_read_side(folder, content.get("documents"), file),
    )


def _read_side(folder: Path, content: Any, file: Path) -> SideSource:
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise CheckpointError(f"{file}: each of queries and documents needs a folder and settings")
    try:
        settings = SideSettings(**content["settings"])
    except (TypeError, SettingError) as error:
        raise CheckpointError(f"{file}: {error}") from None
    own = inside(folder, content.get("folder"), file)
    return SideSource(own, settings, static_weights=own / STATIC_WEIGHTS if (own / STATIC_WEIGHTS).is_file() else None)
