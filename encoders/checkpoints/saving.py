"""Writes an encoder in this project's own layout (encoders.checkpoints.lsr_layout)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from encoders.checkpoints.int8 import FILE as INT8_FILE
from encoders.checkpoints.int8 import save_int8
from encoders.checkpoints.lsr_layout import (
    FILE,
    FORMAT,
    LITERAL_RESIDUAL,
    POOLED_HEAD,
    POOLED_HEAD_INT8,
    STATIC_WEIGHTS,
    TERM_WEIGHTS,
)
from encoders.checkpoints.pooled_head import save_pooled_head
from encoders.checkpoints.static_body import FILE_INT8 as STATIC_BODY_INT8
from encoders.compute.static_body import FILE as STATIC_BODY
from encoders.compute.static_body import StaticBody
from encoders.learned import LearnedEncoder
from encoders.sides.epic import EpicSide
from encoders.sides.literal import LiteralSide
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.mlp import MLPSide
from encoders.sides.pooled import PooledSide
from encoders.sides.prosper import ProsperSide
from encoders.sides.side import Side
from encoders.sides.static import StaticSide


def save_encoder(encoder: LearnedEncoder, folder: Path) -> None:
    """Write the encoder so that `load_encoder(folder)` returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = (encoder.queries, encoder.documents)
    shared = getattr(encoder.queries, "body", None) is getattr(encoder.documents, "body", object())
    shared = shared and not any(getattr(side, "table", None) is not None for side in sides)  # each its own table
    for name in ("linear", "residual"):  # in the same file as that of the documents
        own = getattr(encoder.queries, name, None)
        shared = shared and (own is None or own is getattr(encoder.documents, name, None))
    folders = {"documents": "documents", "queries": "documents" if shared else "queries"}
    _save_side(encoder.documents, folder / "documents")
    if not shared:
        _save_side(encoder.queries, folder / "queries")
    content = {
        "format": FORMAT,
        "queries": {"folder": folders["queries"], "settings": encoder.queries.settings.json()},
        "documents": {"folder": folders["documents"], "settings": encoder.documents.settings.json()},
    }
    (folder / FILE).write_text(json.dumps(content, indent=2) + "\n")


def save_compactly(encoder: LearnedEncoder, folder: Path) -> None:
    """Write an encoder with a pooled document side in int8, a quarter of the size; the weights change by the rounding
    that encoders.checkpoints.int8 describes. Raises TypeError for other sides."""
    side = encoder.documents
    if not isinstance(side, PooledSide):
        raise TypeError(f"a {type(side).__name__} is not stored in int8")
    save_encoder(encoder, folder)
    documents = folder / "documents"
    save_int8(side.head.state_dict(), documents / POOLED_HEAD_INT8)
    (documents / POOLED_HEAD).unlink()
    if isinstance(side.body, StaticBody):
        save_int8(side.body.state_dict(), documents / STATIC_BODY_INT8)
        (documents / STATIC_BODY).unlink()
        return
    tensors = {name: value for name, value in side.body.model.state_dict().items() if not name.startswith("pooler.")}
    save_int8({name: value for name, value in tensors.items() if value.is_floating_point()}, documents / INT8_FILE)
    (documents / "model.safetensors").unlink()


def _save_side(side: Side, folder: Path) -> None:
    if not isinstance(side, MaskedLMSide | MLPSide | PooledSide | StaticSide):
        raise TypeError(f"{type(side).__name__} cannot be saved")
    folder.mkdir(exist_ok=True)
    side.tokenization.save(folder)
    if isinstance(side, MaskedLMSide):
        side.body.save(folder, side.projection)
        if side.table is not None:
            save_file({"weight": side.table.cpu()}, folder / STATIC_WEIGHTS)
    elif isinstance(side, MLPSide | PooledSide):
        side.body.save(folder, None)
    if isinstance(side, EpicSide | LiteralSide | MLPSide):
        save_file({name: tensor.detach() for name, tensor in side.linear.state_dict().items()}, folder / TERM_WEIGHTS)
    if isinstance(side, ProsperSide):
        layer = {name: tensor.detach() for name, tensor in side.residual.state_dict().items()}
        save_file(layer, folder / LITERAL_RESIDUAL)
    if isinstance(side, PooledSide):
        save_pooled_head(side.head, folder)
    if isinstance(side, StaticSide):
        tables = {"weight": side.table} if side.reference is None else {"weight": side.table, "idf": side.reference}
        save_file({name: torch.from_numpy(table) for name, table in tables.items()}, folder / STATIC_WEIGHTS)
