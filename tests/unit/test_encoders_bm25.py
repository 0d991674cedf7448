"""BM25, its analysis and its vocabulary."""

from __future__ import annotations

import math
import subprocess
import sys
import threading

import numpy as np
import pytest

from encoders import (
    BM25Encoder,
    Encoder,
    FixedVocabulary,
    GrowingVocabulary,
    SettingError,
    StatisticsMissing,
    TextError,
    load_encoder,
)
from encoders.text.analysis import EnglishAnalysis, words


class Statistics:
    def __init__(self, frequencies: dict[int, int], document_count: int) -> None:
        self.frequencies = frequencies
        self.document_count = document_count

    def document_frequencies(self, term_ids: np.ndarray) -> np.ndarray:
        return np.array([self.frequencies.get(int(i), 0) for i in term_ids], dtype=np.int64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("U.S.A. can't 3,000.5 covid-19", ["u.s.a", "can't", "3,000.5", "covid", "19"]),
        ("foo_bar a:b x.1 1.x don't. 5'3 'quoted'", ["foo_bar", "a:b", "x", "1", "1", "x", "don't", "5'3", "quoted"]),
        ("Café's α-synuclein 10µm", ["café's", "α", "synuclein", "10µm"]),
        ("日本 ひら カタカナ ภาษาไทย 한국어", ["日", "本", "ひ", "ら", "カタカナ", "ภาษาไทย", "한국어"]),
        ("e\u0301a l’été", ["e\u0301a", "l’été"]),
        ("", []),
        ("--- \x00 !", []),
    ],
)
def test_words_end_where_unicode_says(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_ascii_and_unicode_text_are_cut_alike() -> None:
    text = "The U.S. x_1 _y_ 3,5 a.b,c d:e f'g 1.2.3 4;5 h-i"
    assert words(text + " é") == [*words(text), "é"]


def test_a_word_longer_than_255_characters_is_cut() -> None:
    assert [len(word) for word in words("a" * 600)] == [255, 255, 90]


def test_terms_are_stemmed_without_stop_words_and_possessives() -> None:
    terms = EnglishAnalysis().terms("The Patient's hearts were not responding to The vaccines__ __ as")
    assert terms == ["patient", "heart", "were", "respond", "vaccines__"]


@pytest.mark.parametrize(
    ("word", "stem"),
    # Porter's own program (and Lucene), not his paper: bli -> ble, logi -> log, short words untouched.
    [("histology", "histolog"), ("histological", "histolog"), ("possibly", "possibl"), ("possible", "possibl"),
     ("apologies", "apolog"), ("logy", "logi"), ("is", ""), ("us", "us"), ("vs", "vs")],
)  # fmt: skip
def test_stems_are_those_of_lucene(word: str, stem: str) -> None:
    assert EnglishAnalysis().terms(word) == ([stem] if stem else [])


def test_impacts_follow_the_formula() -> None:
    encoder = load_encoder("bm25", average_length=2.0, k1=1.2, b=0.75)
    matrix = encoder.encode_documents(["heart heart attack", "", "vitamin"])
    assert matrix.dtype == np.float32
    assert matrix.shape == (3, 3)
    norm = 1.2 * (0.25 + 0.75 * 3 / 2.0)
    assert matrix[0].toarray().ravel() == pytest.approx([2 / (2 + norm), 1 / (1 + norm), 0])
    assert matrix[[1]].nnz == 0


def test_a_query_is_term_frequency_times_idf_of_known_terms() -> None:
    encoder = load_encoder("bm25", average_length=2.0)
    encoder.encode_documents(["heart attack"])
    query = encoder.encode_queries(["attack attack heart unheard"], Statistics({0: 3, 1: 10}, 10))
    idf = [math.log(1 + (10 - df + 0.5) / (df + 0.5)) for df in (3, 10)]
    assert query.toarray().ravel() == pytest.approx([idf[0], 2 * idf[1]])
    assert len(encoder.vocabulary) == 2


def test_long_lengths_count_as_lucene_stores_them() -> None:
    encoder = load_encoder("bm25", average_length=10.0)
    impact = {n: encoder.encode_documents([" ".join(["heart"] * n)]).data[0] for n in (39, 40, 41, 42, 1000)}

    def expected(tf: int, length: int) -> float:
        return tf / (tf + 0.9 * (0.6 + 0.4 * length / 10.0))

    # SmallFloat.intToByte4: 41 becomes 40, 1000 becomes 24 + 976 with its four leading bits, 984.
    for tf, length in ((39, 39), (40, 40), (41, 40), (42, 42), (1000, 984)):
        assert impact[tf] == pytest.approx(expected(tf, length), rel=1e-6)


def test_measuring_freezes_the_average_length_once() -> None:
    encoder = BM25Encoder()
    before = encoder.fingerprint
    assert encoder.measure(iter(["heart attack", "the", "vitamin"])) == 1.0
    assert encoder.settings == {"k1": 0.9, "b": 0.4, "average_length": 1.0}
    assert encoder.fingerprint != before
    with pytest.raises(SettingError, match="frozen at 1"):
        encoder.measure(["more"])


def test_what_bm25_does_not_know_is_an_error() -> None:
    encoder = BM25Encoder()
    with pytest.raises(StatisticsMissing, match="average"):
        encoder.encode_documents(["x"])
    with pytest.raises(StatisticsMissing, match="document frequencies"):
        encoder.encode_queries(["x"])
    with pytest.raises(StatisticsMissing, match="no text"):
        encoder.measure([])


@pytest.mark.parametrize(
    "setting",
    [{"k1": -1}, {"k1": True}, {"b": 1.5}, {"average_length": 0}, {"k1": math.nan}, {"z": 1}],
)
def test_an_invalid_setting_is_named(setting: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting))):
        load_encoder("bm25", **setting)


def test_a_bad_text_is_named_by_its_position() -> None:
    encoder = load_encoder("bm25", average_length=2.0)
    with pytest.raises(TextError, match="text 1 is a NoneType"):
        encoder.encode_documents(["x", None])  # type: ignore[list-item]
    with pytest.raises(TextError, match="text 0 contains a lone surrogate at character 2"):
        encoder.encode_documents(["ab\ud800"])
    with pytest.raises(TextError, match="list"):
        encoder.encode_documents("abc")
    with pytest.raises(TextError, match="text 600"):
        list(encoder.encode_document_batches(["x"] * 600 + [5]))  # type: ignore[list-item]


def test_batches_are_in_order_and_later_ones_may_be_wider() -> None:
    encoder = load_encoder("bm25", average_length=2.0)
    blocks = list(encoder.encode_document_batches(f"word{i}" for i in range(1100)))
    assert [block.shape[0] for block in blocks] == [512, 512, 76]
    assert [block.shape[1] for block in blocks] == [512, 1024, 1100]
    assert blocks[2].indices[0] == 1024


def test_settings_rebuild_the_encoder() -> None:
    encoder = load_encoder("bm25", average_length=7.5, k1=1.5)
    again = load_encoder(encoder.name, **encoder.settings)
    assert isinstance(again, Encoder)
    assert again.fingerprint == encoder.fingerprint


def test_input_terms_are_the_known_ones() -> None:
    encoder = load_encoder("bm25", average_length=7.5)
    encoder.encode_documents(["vitamin heart"])
    assert encoder.input_term_ids("Hearts of the unheard, heart").tolist() == [1]


def test_a_restored_vocabulary_gives_the_same_numbers() -> None:
    first = load_encoder("bm25", average_length=3.0)
    matrix = first.encode_documents(["heart attack", "attack vitamin"])
    second = load_encoder("bm25", average_length=3.0)
    second.vocabulary.add(first.vocabulary.tokens(range(len(first.vocabulary))))
    assert (second.encode_documents(["heart attack", "attack vitamin"]) != matrix).nnz == 0


def test_many_threads_agree_on_numbers() -> None:
    vocabulary = GrowingVocabulary()
    encoder = load_encoder("bm25", average_length=3.0)
    numbers: list[np.ndarray] = [np.empty(0)] * 8
    start = threading.Barrier(8)

    def work(slot: int) -> None:
        start.wait()
        tokens = [f"t{i}" for i in range(slot, 2000)]
        numbers[slot] = vocabulary.add(tokens)
        encoder.encode_documents([" ".join(f"word{i}" for i in range(300))] * 5)

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vocabulary) == 2000
    assert len(encoder.vocabulary) == 300
    for slot in range(8):
        assert vocabulary.tokens(numbers[slot]) == [f"t{i}" for i in range(slot, 2000)]


def test_a_model_vocabulary_does_not_grow() -> None:
    vocabulary = FixedVocabulary(["a", "b"])
    assert vocabulary.ids(["b", "z"]).tolist() == [1, -1]
    with pytest.raises(TypeError, match="'z'"):
        vocabulary.add(["b", "z"])
    with pytest.raises(IndexError, match="term 2"):
        vocabulary.tokens([2])
    with pytest.raises(IndexError, match="term -1"):
        vocabulary.tokens([-1])


def test_bm25_loads_no_deep_learning_library() -> None:
    program = (
        "import sys, encoders; light = 'scipy' not in sys.modules; "
        "encoders.load_encoder('bm25', average_length=2.0).encode_documents(['x']); "
        "print(light, sorted({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"
