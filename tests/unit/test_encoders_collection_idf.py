"""Query weights that are adjusted to the idf of the searched collection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.cards import model_cards, shipped_folder
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.errors import SettingError
from encoders.settings import Family, SideSettings
from encoders.sides.static import FLOOR, StaticSide
from encoders.text.tokenization import Tokenization

N_DOCS = 1000
TEXT = "heart failure"


class Counted:
    """A collection in which every term has the same document frequency."""

    document_count = N_DOCS

    def __init__(self, frequency: int) -> None:
        self.frequency = frequency

    def document_frequencies(self, term_ids: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
        return np.full(len(term_ids), self.frequency)


@pytest.fixture(scope="module")
def tokenization() -> Tokenization:
    folder = shipped_folder(model_cards()["lsr-mini"])
    assert folder is not None
    return Tokenization(read_tokenizer(folder / "queries"), None)


def side(tokenization: Tokenization, share: float, *, reference: bool = True) -> StaticSide:
    """Every term weighs 4 and had an idf of 3."""
    n_terms = len(tokenization.tokens)
    settings = SideSettings(family=Family.STATIC, collection_idf=share)
    idf = np.full(n_terms, 3.0, dtype=np.float32) if reference else None
    return StaticSide(tokenization, settings, np.full(n_terms, 4.0, dtype=np.float32), idf)


@pytest.mark.parametrize("frequency", [0, 1, 50, 700])
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_weight_moves_by_a_share_of_the_difference_of_the_idfs(
    tokenization: Tokenization, frequency: int, share: float
) -> None:
    idf = np.log(1 + (N_DOCS - frequency + 0.5) / (frequency + 0.5))
    weights = side(tokenization, share).encode([TEXT], Counted(frequency)).data
    np.testing.assert_allclose(weights, 4.0 + share * (idf - 3.0), rtol=1e-6)


def test_a_term_that_is_everywhere_keeps_a_little(tokenization: Tokenization) -> None:
    common = side(tokenization, 1.0)
    common.reference = np.full(len(common.table), 9.0, dtype=np.float32)
    np.testing.assert_allclose(common.encode([TEXT], Counted(N_DOCS)).data, FLOOR * 4.0, rtol=1e-6)


def test_without_a_collection_or_a_share_weights_are_the_tables(tokenization: Tokenization) -> None:
    assert set(side(tokenization, 0.5).encode([TEXT]).data.tolist()) == {4.0}
    assert set(side(tokenization, 0.0).encode([TEXT], Counted(1)).data.tolist()) == {4.0}
    assert set(side(tokenization, 0.0, reference=False).encode([TEXT], Counted(1)).data.tolist()) == {4.0}
    assert side(tokenization, 0.5).encode(["", "!"], Counted(1)).shape == (2, len(tokenization.tokens))


def test_a_term_without_weight_stays_without(tokenization: Tokenization) -> None:
    silent = side(tokenization, 1.0)
    silent.table[:] = 0.0
    assert silent.encode([TEXT], Counted(1)).nnz == 0


def test_a_share_needs_the_training_texts_idf(tokenization: Tokenization) -> None:
    with pytest.raises(SettingError, match="idf of the training texts"):
        side(tokenization, 0.5, reference=False)
    with pytest.raises(SettingError, match="collection_idf"):
        SideSettings(family=Family.STATIC, collection_idf=1.5)
