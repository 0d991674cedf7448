"""lsr-nano, the small model of this package: it loads by its name and keeps its promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders import load_encoder
from encoders.cards import model_cards, shipped_folder
from encoders.compute.static_body import StaticBody
from encoders.errors import UnknownEncoder
from encoders.sides.pooled import PooledSide
from lsr.default_pipeline import defaults_for, vectors_for
from lsr.settings import BUILT_IN_ENCODERS

TEXT = "Statins lower cholesterol and prevent heart attacks in patients with diabetes."
# The heaviest weights of TEXT as the shipped files gave them in float32, when they were trained.
DOCUMENT = {"heart": 1.06595, "diabetes": 0.98803, "prevent": 0.95803, "##terol": 0.93729, "cho": 0.92182}
QUERY = {"stats": 3.25312, "diabetes": 2.92548, "cho": 2.78162, "attack": 2.48072, "heart": 2.44814}


@pytest.fixture(scope="module")
def folder() -> Path:
    found = shipped_folder(model_cards()["lsr-nano"])
    assert found is not None
    return found


@pytest.fixture(scope="module")
def encoder() -> Any:
    return load_encoder("lsr-nano", device="cpu", dtype="float32")


def test_the_files_are_at_most_24_megabytes(folder: Path) -> None:
    assert 10_000_000 < sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 24_000_000


def test_the_folder_has_its_licence_and_no_transformer(folder: Path) -> None:
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")}
    assert files == {
        "documents/pooled_head.int8.safetensors",
        "documents/static_body.int8.safetensors",
        "queries/static_weights.safetensors",
    }
    assert "Apache License 2.0" in (folder / "LICENSE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("side", "expected"), [("documents", DOCUMENT), ("queries", QUERY)])
def test_the_weights_are_those_of_the_trained_files(encoder: Any, side: str, expected: dict[str, float]) -> None:
    row = getattr(encoder, f"encode_{side}")([TEXT])
    heaviest = np.argsort(-row.data)[: len(expected)]
    assert encoder.vocabulary.tokens(row.indices[heaviest]) == list(expected)
    np.testing.assert_allclose(row.data[heaviest], list(expected.values()), rtol=1e-4)


def test_documents_have_no_transformer_and_at_most_500_terms(encoder: Any) -> None:
    side = encoder.documents
    assert isinstance(side, PooledSide)
    assert isinstance(side.body, StaticBody)
    words = encoder.vocabulary.tokens(np.arange(2000, 4000))
    rows = encoder.encode_documents([TEXT, " ".join(words)])  # the second has more terms of its own than are kept
    assert np.diff(rows.indptr)[1] == 500
    own = set(encoder.input_term_ids(TEXT).tolist())
    terms = rows[[0]].indices
    assert own & set(terms.tolist())
    expansion = set(encoder.vocabulary.tokens(np.array([term for term in terms.tolist() if term not in own])))
    assert {"treatment", "disease"} <= expansion


def test_a_repeated_word_counts_more_but_not_twice(encoder: Any) -> None:
    once, twice = encoder.encode_queries(["cholesterol", "cholesterol cholesterol"]).toarray().max(axis=1)
    assert once < twice < 2 * once


def test_a_question_finds_its_document(encoder: Any) -> None:
    documents = encoder.encode_documents(
        [TEXT, "Galaxies rotate faster than their visible mass explains.", "Sourdough needs a starter."]
    )
    asked = ["treatment of vascular disease", "galactic gravity"]  # no word of the documents
    scores = (encoder.encode_queries(asked) @ documents.T).toarray()
    assert scores.argmax(axis=1).tolist() == [0, 1]


def test_half_precision_gives_nearly_the_same_weights(encoder: Any) -> None:
    half = load_encoder("lsr-nano", device="cpu", dtype="bfloat16").encode_documents([TEXT])
    exact = encoder.encode_documents([TEXT])
    assert 0 < np.abs((half - exact).toarray()).max() < 0.01


def test_every_interface_knows_it_and_it_ranks_alone() -> None:
    assert "lsr-nano" in BUILT_IN_ENCODERS
    vectors = vectors_for("lsr-nano")
    assert list(vectors) == ["default"]
    assert defaults_for(vectors) is None


def test_a_typing_error_suggests_it() -> None:
    with pytest.raises(UnknownEncoder, match="Did you mean lsr-nano"):
        load_encoder("lsr-nanno")
