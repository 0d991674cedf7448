"""The models of this package in sentence-transformers: it reads their folders and gives the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import SparseEncoder

from encoders import load_encoder
from encoders.cards import model_cards, shipped_folder

# The second is longer than the models read.
TEXTS = [
    "Statins lower cholesterol and prevent heart attacks in patients with diabetes.",
    "A text of two sentences. " * 60,
    "phosphorylation",
]


@pytest.mark.parametrize("name", ["lsr-mini", "lsr-nano"])
def test_sentence_transformers_reads_the_shipped_folder_and_gives_the_same_weights(name: str) -> None:
    encoder = load_encoder(name, device="cpu", dtype="float32")
    model = SparseEncoder(str(shipped_folder(model_cards()[name])), trust_remote_code=True, device="cpu")
    for theirs, ours in (
        (model.encode_document(TEXTS, convert_to_tensor=True), encoder.encode_documents(TEXTS)),
        (model.encode_query(TEXTS, convert_to_tensor=True), encoder.encode_queries(TEXTS)),
    ):
        np.testing.assert_allclose(theirs.to_dense().numpy(), ours.toarray(), atol=1e-5, rtol=1e-5)
