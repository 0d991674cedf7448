"""Models that `lsr train` makes from a preset open in sentence-transformers without remote code, with equal weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder

from encoders import load_encoder
from encoders.checkpoints.saving import save_encoder
from encoders.settings import SideSettings, override
from encoders.training import TrainableEncoder, untrained
from encoders.training.sentence_transformers_export import write_sentence_transformers

MakeCheckpoint = Callable[..., Path]

TEXTS = ["sparse retrieval of the heart", "the heart the heart", "learned " * 60, "[SEP] attack 😀 é", "vitamin c", "x"]
PLAIN = ["splade", "splade-max", "splade-doc", "splade-lexical", "sparta", "inference-free", "inference-free-l0"]


def trained(name: str, checkpoint: Path, folder: Path, **settings: Any) -> Path:
    """Write a model that took a few steps of training with the preset `name`; `settings` change it."""
    torch.manual_seed(3)
    trainable = TrainableEncoder(untrained(name, checkpoint, device="cpu", max_length=24), train_static=True)
    optimizer = torch.optim.AdamW(trainable.parameters(), lr=3e-3)
    for _ in range(3):
        scores = trainable.queries(TEXTS[:3]) @ trainable.documents(TEXTS[:3]).T
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_encoder(trainable.finish(), folder)
    content = json.loads((folder / "encoder.json").read_text())
    for side, name in (("queries", "query"), ("documents", "document")):
        content[side]["settings"] = override(SideSettings(**content[side]["settings"]), settings, name).json()
    (folder / "encoder.json").write_text(json.dumps(content))
    return folder


def difference(folder: Path) -> float:
    """Return the largest difference of any weight between this project and sentence-transformers."""
    ours = load_encoder(str(folder), dtype="float32", device="cpu")
    theirs = SparseEncoder(str(folder), device="cpu")
    worst = 0.0
    for encode, refer in ((ours.encode_queries, theirs.encode_query), (ours.encode_documents, theirs.encode_document)):
        found = refer(TEXTS, convert_to_sparse_tensor=False, show_progress_bar=False).numpy()
        assert (found > 1e-4).sum() > len(TEXTS)
        worst = max(worst, float(np.abs(encode(TEXTS).toarray() - found).max()))
    return worst


@pytest.mark.parametrize("name", PLAIN)
def test_a_preset_opens_without_remote_code(make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str) -> None:
    folder = trained(name, make_checkpoint(), tmp_path / "model")
    before = load_encoder(str(folder), dtype="float32").encode_documents(TEXTS)
    assert write_sentence_transformers(folder)
    found = difference(folder)
    print(f"export, {name}: largest difference {found:.1e}")
    assert found < (1e-5 if name != "splade" else 5e-5)
    assert abs(load_encoder(str(folder), dtype="float32").encode_documents(TEXTS) - before).max() < 1e-6


@pytest.mark.parametrize(
    "settings",
    [
        {"max_active_dims": 7, "query_prompt": "the ", "document_prompt": "of: "},
        {"query_max_length": 8},
        {"cosine": True},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("name", ["splade-max", "inference-free"])
def test_settings_are_exported(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    folder = trained(name, make_checkpoint(), tmp_path / "model", **settings)
    assert write_sentence_transformers(folder)
    if settings != {"cosine": True}:
        assert difference(folder) < 1e-5
        return
    model = SparseEncoder(str(folder), device="cpu")
    vectors = [one(TEXTS, convert_to_sparse_tensor=False) for one in (model.encode_query, model.encode_document)]
    theirs = model.similarity(*vectors).numpy()
    ours = load_encoder(str(folder), dtype="float32")
    found = (ours.encode_queries(TEXTS) @ ours.encode_documents(TEXTS).T).toarray()
    assert np.abs(found - theirs).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("unicoil", {}),
        ("deepimpact", {}),
        ("tilde", {}),
        ("epic", {}),
        ("splade-max", {"document_max_active_dims": 9}),
        ("splade-max", {"prune_ratio": 0.1}),
        ("splade-max", {"pool_special_positions": False}),
        ("splade-doc", {"document_windows": "max"}),
    ],
    ids=str,
)
def test_what_that_package_cannot_express_is_not_exported(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    folder = trained(name, make_checkpoint(), tmp_path / "model", **settings)
    assert not write_sentence_transformers(folder)
    assert not (folder / "modules.json").exists()
