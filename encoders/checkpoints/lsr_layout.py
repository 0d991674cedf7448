"""This project's own layout: encoder.json with the settings of both sides, and a folder for each.

encoder.json    {"format": 1, "queries": {"folder": "queries", "settings": {...}}, "documents": {...}}
documents/      as transformers writes it; with term_weights.safetensors in an MLP, EPIC or literal side,
                pooled_head.safetensors in a pooled one; matrices may be in int8 (encoders.checkpoints.int8)
queries/        the same; or tokenizer and static_weights.safetensors (`weight`, and the training texts' `idf` for
                collection_idf); absent where it shares the document model
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from encoders.checkpoints.files import inside, read_object
from encoders.checkpoints.int8 import FILE as INT8_FILE
from encoders.checkpoints.int8 import save_int8
from encoders.checkpoints.pooled_head import FILE as FLOAT_HEAD
from encoders.checkpoints.pooled_head import INT8_FILE as INT8_HEAD
from encoders.checkpoints.pooled_head import save_pooled_head
from encoders.checkpoints.sources import SideSource, Sources
from encoders.checkpoints.term_weights_layout import OWN_FILE
from encoders.errors import CheckpointError, SettingError
from encoders.learned import LearnedEncoder
from encoders.settings import SideSettings
from encoders.sides.epic import EpicSide
from encoders.sides.literal import LiteralSide
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.mlp import MLPSide
from encoders.sides.pooled import PooledSide
from encoders.sides.side import Side
from encoders.sides.static import StaticSide

_FILE = "encoder.json"
_STATIC = "static_weights.safetensors"
_FORMAT = 1


def is_own(folder: Path) -> bool:
    """Return whether the folder has this layout."""
    return (folder / _FILE).is_file()


def read_own(folder: Path) -> Sources:
    """Return both sides; raise CheckpointError for what encoder.json says wrongly."""
    file = folder / _FILE
    content = read_object(file)
    if content.get("format") != _FORMAT:
        raise CheckpointError(f"{file}: format {content.get('format')!r} is not {_FORMAT}, the one known here")
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
    return SideSource(own, settings, static_weights=own / _STATIC if (own / _STATIC).is_file() else None)


def save_encoder(encoder: LearnedEncoder, folder: Path) -> None:
    """Write the encoder so that `load_encoder(folder)` gives it back."""
    folder.mkdir(parents=True, exist_ok=True)
    shared = getattr(encoder.queries, "body", None) is getattr(encoder.documents, "body", object())
    folders = {"documents": "documents", "queries": "documents" if shared else "queries"}
    _save_side(encoder.documents, folder / "documents")
    if not shared:
        _save_side(encoder.queries, folder / "queries")
    content = {
        "format": _FORMAT,
        "queries": {"folder": folders["queries"], "settings": encoder.queries.settings.json()},
        "documents": {"folder": folders["documents"], "settings": encoder.documents.settings.json()},
    }
    (folder / _FILE).write_text(json.dumps(content, indent=2) + "\n")


def save_compactly(encoder: LearnedEncoder, folder: Path) -> None:
    """Write an encoder with a pooled document side in int8, a quarter of the size; what is read back differs by the
    rounding that encoders.checkpoints.int8 describes. Raises TypeError for other sides."""
    side = encoder.documents
    if not isinstance(side, PooledSide):
        raise TypeError(f"a {type(side).__name__} is not stored in int8")
    save_encoder(encoder, folder)
    documents = folder / "documents"
    tensors = {name: value for name, value in side.body.model.state_dict().items() if not name.startswith("pooler.")}
    save_int8({name: value for name, value in tensors.items() if value.is_floating_point()}, documents / INT8_FILE)
    save_int8(side.head.state_dict(), documents / INT8_HEAD)
    for replaced in (documents / "model.safetensors", documents / FLOAT_HEAD):
        replaced.unlink()


def _save_side(side: Side, folder: Path) -> None:
    if not isinstance(side, MaskedLMSide | MLPSide | PooledSide | StaticSide):
        raise TypeError(f"{type(side).__name__} cannot be saved")
    folder.mkdir(exist_ok=True)
    side.tokenization.save(folder)
    if isinstance(side, MaskedLMSide):
        side.body.save(folder, side.projection)
    elif isinstance(side, MLPSide | PooledSide):
        side.body.save(folder, None)
    if isinstance(side, EpicSide | LiteralSide | MLPSide):
        save_file({name: tensor.detach() for name, tensor in side.linear.state_dict().items()}, folder / OWN_FILE)
    if isinstance(side, PooledSide):
        save_pooled_head(side.head, folder)
    if isinstance(side, StaticSide):
        tables = {"weight": side.table} if side.reference is None else {"weight": side.table, "idf": side.reference}
        save_file({name: torch.from_numpy(table) for name, table in tables.items()}, folder / _STATIC)
