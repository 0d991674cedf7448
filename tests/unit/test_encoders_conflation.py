"""The forms of a word share a term: in the vocabulary, in weights, and where words are found in a text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoders.checkpoints.fingerprint import fingerprint
from encoders.checkpoints.sources import SideSource
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.errors import SettingError
from encoders.settings import Family, SideSettings
from encoders.sides.bm25_impacts import BM25Impacts
from encoders.sides.static import StaticSide
from encoders.text.conflation import conflated_terms
from encoders.text.tokenization import Tokenization
from encoders.text.words import highlights
from encoders.training.word_pieces import idf_of, piece_statistics, query_weights

SHIPPED = Path(__file__).parents[2] / "encoders" / "models" / "lsr-mini" / "queries"


@pytest.fixture(scope="module")
def conflating() -> Tokenization:
    return Tokenization(read_tokenizer(SHIPPED), None, conflate=True)


def names(tokenization: Tokenization, text: str) -> list[str]:
    tokens = tokenization.tokens
    [ids] = tokenization.ids([text], special_tokens=False)
    return [tokens[term] for term in tokenization.terms(ids)]


def test_whole_words_of_one_stem_are_one_term_named_by_the_first() -> None:
    tokens = ["[PAD]", "cell", "the", "cells", "##cells", "measured", "measure", "an", "ans", "42"]
    assert conflated_terms(tokens).tolist() == [0, 1, 2, 1, 4, 5, 5, 7, 8, 9]


def test_the_shipped_vocabulary_has_the_terms_that_lsr_mini_was_trained_on(conflating: Tokenization) -> None:
    # They are not stored: an analysis or a stemmer that changes them needs another RULE.
    terms = conflated_terms(conflating.tokens)
    assert len(set(terms.tolist())) == 23_097
    digest = hashlib.sha256(terms.astype("<i8").tobytes()).hexdigest()
    assert digest == "c988059fd19a2796a85b2670716b79f3795e69f800edc6c9ee80a3480d47d0ee"


def test_pieces_within_words_and_stop_words_keep_their_own_terms(conflating: Tokenization) -> None:
    assert names(conflating, "Cells were studied by the studies") == ["cell", "were", "study", "by", "the", "study"]
    plain = Tokenization(read_tokenizer(SHIPPED), None)
    assert names(conflating, "phosphorylation") == names(plain, "phosphorylation")


def test_a_query_of_one_form_has_the_term_of_the_others(conflating: Tokenization) -> None:
    table = np.ones(len(conflating.tokens), dtype=np.float32)
    side = StaticSide(conflating, SideSettings(family=Family.STATIC, conflate=True), table)
    found = side.encode(["cells", "cell", "cell cells"])
    assert found.nnz == 3
    assert len(set(found.indices.tolist())) == 1


def test_forms_count_together_in_a_document(conflating: Tokenization) -> None:
    settings = SideSettings(family=Family.POOLED, average_length=3.0, conflate=True)
    impacts = BM25Impacts(settings, conflating, len(conflating.tokens))
    forms, same = (impacts(conflating.ids([text])) for text in ("cell cells study", "cell cell study"))
    assert [one.tolist() for one in forms] == [one.tolist() for one in same]


def test_a_highlight_marks_every_form_of_a_querys_word(conflating: Tokenization) -> None:
    text = "A cell, two Cells; not a cello."
    [query] = conflating.terms(conflating.ids(["cells"], special_tokens=False)[0])
    for words in (conflating.words(text), conflating.words(text, [query])):
        assert [text[start:end] for start, end, _ in highlights(words, {query: 1.0})] == ["cell", "Cells"]


def test_statistics_are_of_terms_and_stop_words_have_no_weight(conflating: Tokenization) -> None:
    _, frequencies = piece_statistics(conflating, ["the cell divides", "cells phosphorylation ?", "nothing"])
    number = {token: i for i, token in enumerate(conflating.tokens)}
    assert (frequencies[number["cell"]], frequencies[number["cells"]]) == (2, 0)
    idf = idf_of(frequencies, 3)
    weights = query_weights(conflating, idf, 0.5)
    assert [float(weights[number[one]]) for one in ("the", "?", "##?", "cells")] == [0.0] * 4
    assert weights[number["cell"]] == idf[number["cell"]] > 0
    assert weights[number["##lation"]] == pytest.approx(0.5 * idf[number["##lation"]])


def test_only_weights_that_are_looked_up_can_be_conflated() -> None:
    with pytest.raises(SettingError, match="masked-lm has a weight for each token"):
        SideSettings(conflate=True)
    with pytest.raises(SettingError, match="conflate"):
        SideSettings(family=Family.STATIC, conflate="yes")  # type: ignore[arg-type]


def test_weights_made_by_another_rule_are_refused() -> None:
    with pytest.raises(SettingError, match="conflation rule 2, and this version has rule 1"):
        SideSettings(family=Family.STATIC, conflate=True, conflation_rule=2)


def test_the_fingerprint_covers_the_rule(make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source = SideSource(make_checkpoint(), SideSettings(family=Family.STATIC))
    first = fingerprint((source, SideSettings(family=Family.STATIC, conflate=True)))
    monkeypatch.setattr("encoders.settings.RULE", 2)
    second = SideSettings(family=Family.STATIC, conflate=True, conflation_rule=2)
    assert fingerprint((source, second)) != first


def test_the_fingerprint_of_an_encoder_without_it_is_what_it_was(make_checkpoint: Callable[..., Path]) -> None:
    source = SideSource(make_checkpoint(), SideSettings(family=Family.STATIC))
    plain = SideSettings(family=Family.STATIC)
    assert fingerprint((source, plain)) != fingerprint((source, SideSettings(family=Family.STATIC, conflate=True)))
