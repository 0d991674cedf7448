"""Words of a text, their positions and their terms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import load_encoder
from encoders.text.analysis import _ASCII_WORD, _UNICODE_WORD, EnglishAnalysis
from encoders.text.words import Word, highlights, whole_words

MakeCheckpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def model(make_checkpoint: MakeCheckpoint):  # type: ignore[no-untyped-def]
    return load_encoder(str(make_checkpoint()), dtype="float32")


def test_pieces_of_one_word_are_folded_into_it(model) -> None:  # type: ignore[no-untyped-def]
    text = "  Sparse RETRIEVAL, 日本 cafe\u0301! 😀 the"
    words = model.words(text)
    assert [text[w.start : w.end] for w in words] == [
        "Sparse", "RETRIEVAL", ",", "日", "本", "cafe\u0301", "!", "😀", "the",
    ]  # fmt: skip
    tokens = [model.vocabulary.tokens(w.term_ids) for w in words]
    assert tokens[1] == ["retriev", "##al"]
    assert tokens[5] == ["c", "##a", "##f", "##e"]


def test_byte_level_pieces_stand_where_their_word_stands() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from encoders.checkpoints.tokenizer_files import of_transformers
    from encoders.text.tokenization import Tokenization

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["sparse retrieval retrieval sparse"], trainer)
    tokenization = Tokenization(
        of_transformers(PreTrainedTokenizerFast(tokenizer_object=tokenizer)), None, prompt="query: "
    )
    text = " sparse  retrievals 日本語 😀, naïve"
    spans = [text[word.start : word.end] for word in tokenization.words(text)]
    assert spans == ["sparse", "retrievals", "日本語", "😀,", "naïve"]


def test_words_reach_beyond_the_length_of_the_model(model) -> None:  # type: ignore[no-untyped-def]
    text = "the heart " * 400 + "vitamin"
    last = model.words(text)[-1]
    assert text[last.start : last.end] == "vitamin"
    assert model.vocabulary.tokens(last.term_ids) == ["vitamin"]


def test_bm25_words_are_stems_with_their_places() -> None:
    encoder = load_encoder("bm25", average_length=2.0)
    encoder.encode_documents(["hearts é"])
    text = "The Heart's İ É " + "x" * 300
    words = encoder.words(text)
    assert [text[w.start : w.end] for w in words] == ["The", "Heart's", "İ", "É", "x" * 255, "x" * 45]
    assert [w.term_ids for w in words] == [(), (0,), (), (1,), (), ()]


@given(st.text(max_size=60))
def test_bm25_words_and_terms_are_the_same(text: str) -> None:
    encoder = load_encoder("bm25", average_length=2.0)
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff" and c.lower().upper().lower() == c.lower())
    encoder.encode_documents([text])
    found = {term for word in encoder.words(text) for term in word.term_ids}
    assert sorted(found) == encoder.input_term_ids(text).tolist()


# Spaces that no word crosses, one that words do cross (U+202F), marks on a letter, words with inner marks.
SPACED = st.text(st.sampled_from("aé日 \n\u202f\u0301_-'.3,😀ΣÎ\t"), max_size=40)


@given(SPACED)
def test_bm25_finds_the_same_words_run_by_run_as_in_the_whole_text(text: str) -> None:
    pattern = _ASCII_WORD if text.isascii() else _UNICODE_WORD
    found = [(start, end) for start, end, _ in EnglishAnalysis().words(text)]
    # For the ASCII pattern a bare "_" is a word, without a term.
    expected = [match.span() for match in pattern.finditer(text) if match[0].strip("_")]
    assert [span for span in found if text[slice(*span)].strip("_")] == expected


@given(SPACED)
def test_a_model_finds_the_same_words_run_by_run_as_in_the_whole_text(model, text: str) -> None:  # type: ignore[no-untyped-def]
    tokenization = model.documents.tokenization
    assert tokenization._runs is not None
    assert [tuple(word) for word in model.words(text + " [SEP]")] == tokenization._words_of(text + " [SEP]")


@given(st.lists(st.sampled_from(["heart", "Hearts,", "(attack)", "retrieval", "the", "é", "日本", "\n"]), max_size=12))
def test_words_among_some_terms_are_those_of_all_words_that_hold_one(model, parts: list[str]) -> None:  # type: ignore[no-untyped-def]
    text = " ".join(parts)
    bm25 = load_encoder("bm25", average_length=2.0)
    bm25.encode_documents(["hearts attack é 日"])
    for encoder, tokens in ((bm25, ["heart", "é"]), (model, ["heart", "##al", "[CLS]"])):
        wanted = set(encoder.vocabulary.ids(tokens).tolist())
        holding = [word for word in encoder.words(text) if wanted & set(word.term_ids)]
        assert encoder.words(text, wanted) == holding
        assert len(holding) >= sum("eart" in part for part in parts)


def test_whole_words_add_their_pieces_and_leave_expansion_apart() -> None:
    text = "Retriever of a retriever: heart"
    words = [Word(0, 9, (7, 8)), Word(10, 12, (1,)), Word(15, 24, (7, 8)), Word(24, 25, ()), Word(26, 31, (5,))]
    folded = whole_words(text, words, {7: 1.0, 8: 0.5, 5: 2.0, 99: 0.25, 98: 0.125})
    assert [(one.word, one.weight, one.term_ids) for one in folded] == [
        ("heart", 2.0, (5,)),
        ("Retriever", 1.5, (7, 8)),
        (None, 0.25, (99,)),
        (None, 0.125, (98,)),
    ]


def test_a_piece_of_several_words_counts_in_the_one_that_weighs_most() -> None:
    text = "cats dogs s"
    words = [Word(0, 4, (1, 9)), Word(5, 9, (2, 9)), Word(10, 11, (9,))]
    folded = whole_words(text, words, {1: 1.0, 2: 2.0, 9: 0.5})
    assert [(one.word, one.weight, one.term_ids) for one in folded] == [("dogs", 2.5, (2, 9)), ("cats", 1.0, (1,))]


TERMS = st.integers(0, 8)


@given(
    st.lists(st.tuples(st.sampled_from("abAB日"), st.lists(TERMS, max_size=4)), max_size=8),
    st.dictionaries(TERMS, st.floats(0.01, 9)),
)
def test_words_hold_each_term_once_and_weigh_what_the_terms_weigh(
    spelled: list[tuple[str, list[int]]], weights: dict[int, float]
) -> None:
    text = "".join(letter for letter, _ in spelled)
    words = [Word(at, at + 1, tuple(ids)) for at, (_, ids) in enumerate(spelled)]
    folded = whole_words(text, words, weights)
    assert sorted(term for one in folded for term in one.term_ids) == sorted(weights)
    for one in folded:
        assert one.weight == pytest.approx(sum(weights[term] for term in one.term_ids))
        assert (one.word is None) == (not any(set(one.term_ids) & set(word.term_ids) for word in words))


def test_a_long_document_in_several_scripts_is_folded_whole(model) -> None:  # type: ignore[no-untyped-def]
    text = "the heart " * 2000 + "日本 cafe\u0301 😀 RETRIEVAL"
    ids = model.vocabulary.ids(["heart", "retriev", "##al", "##a", "##f", "日", "##zz", "attack"])
    weights = {term: 1.0 + 0.125 * at for at, term in enumerate(ids.tolist()) if term >= 0}
    folded = whole_words(text, model.words(text, weights), weights)
    by_word = {one.word: model.vocabulary.tokens(one.term_ids) for one in folded if one.word}
    assert by_word["RETRIEVAL"] == ["retriev", "##al"]
    assert by_word["cafe\u0301"] == ["##a", "##f"]
    assert {"heart", "日"} < set(by_word)
    assert sum(one.weight for one in folded) == pytest.approx(sum(weights.values()))
    assert [model.vocabulary.tokens(one.term_ids) for one in folded if one.word is None] == [["attack"]]


def test_highlights_are_the_words_that_hold_a_term_of_the_query() -> None:
    words = [Word(0, 9, (7, 8, 7)), Word(10, 12, (1,)), Word(15, 24, (8,))]
    assert highlights(words, {7: 1.0, 8: 0.5}) == [(0, 9, 1.5), (15, 24, 0.5)]
