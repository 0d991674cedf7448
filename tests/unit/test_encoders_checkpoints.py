"""Checkpoints read from folders: the vectors, and the errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from encoders import CheckpointError, Encoder, load_encoder

TEXTS = ["sparse retrieval", "", "the heart attack of 1999!", "learned " * 60]


def dense_splade(folder: Path, texts: list[str]) -> np.ndarray:
    """SPLADE by its definition, one text at a time, in float64."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).double().eval()
    rows = []
    for text in texts:
        with torch.inference_mode():
            logits = model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0]
        rows.append(torch.log1p(torch.relu(logits)).amax(dim=0).numpy())
    return np.stack(rows)


def test_a_plain_checkpoint_is_encoded_as_splade_defines(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    encoder = load_encoder(str(folder), dtype="float32")
    assert isinstance(encoder, Encoder)
    expected = dense_splade(folder, TEXTS)
    for matrix in (encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)):
        assert matrix.dtype == np.float32
        assert matrix.has_sorted_indices
        assert np.abs(matrix.toarray() - expected).max() < 1e-5


def test_a_head_that_the_weights_lack_is_an_error(make_checkpoint: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_checkpoint()
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("cls.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing \(cls\.predictions.*random"):
        load_encoder(str(folder))
