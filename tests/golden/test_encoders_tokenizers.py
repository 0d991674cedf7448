"""Tokens read from files alone are those of transformers; where that is not certain, transformers reads them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizer

from encoders.cards import model_cards, shipped_folder
from encoders.checkpoints import tokenizer_files
from encoders.checkpoints.tokenizer_files import of_transformers, read_tokenizer, read_with_transformers
from encoders.text.tokenization import Tokenization
from lsr.corpora import open_corpus
from lsr.documents import Document
from tests.conftest import PIECES, save_tokenizer

SAMPLE = Path(__file__).parents[2] / "samples" / "arxiv-10k.jsonl.zst"
SIDES = ["queries", "documents"]
TEXTS = [
    "sparse retrieval of the heart", "", " ", "learned " * 100, "[CLS] the [SEP] heart [MASK] attack [PAD] [UNK]",
    "vitamin 😀 日本語 é\u0301 naïve ÀÉÎ", "nul\x00byte\tand\u00a0space\u200b", "Heart ATTACK!!! don't",
    "x" * 300, "İstanbul",
]  # fmt: skip


def shipped(side: str) -> Path:
    folder = shipped_folder(model_cards()["lsr-mini"])
    assert folder is not None
    return folder / side


def assert_same(folder: Path, texts: list[str], max_length: int | None = 24) -> None:
    """Compare what is read from the files with transformers' own tokenizer, called as its users call it."""
    theirs = AutoTokenizer.from_pretrained(folder)
    loaded = tokenizer_files._from_files(folder)
    assert loaded is not None
    known = of_transformers(theirs)
    for name in ("special_ids", "pad_id", "unknown_id", "mask_id", "max_length", "truncation_side"):
        assert getattr(loaded, name) == getattr(known, name), name
    tokenization = Tokenization(loaded, max_length)
    assert tokenization.tokens == Tokenization(known, max_length).tokens
    cut: dict[str, Any] = {"truncation": True, "max_length": max_length} if max_length is not None else {}
    # transformers counts the special tokens that it does not add when it cuts; here they are counted always.
    for special_tokens, truncate in ((True, True), (True, False), (False, False)):
        expected = theirs(texts, add_special_tokens=special_tokens, **(cut if truncate else {}))["input_ids"]
        assert tokenization.ids(texts, special_tokens=special_tokens, truncate=truncate) == expected
    ours, other = tokenization, Tokenization(known, max_length)
    assert ours.ids(texts, special_tokens=False) == other.ids(texts, special_tokens=False)
    for text in texts:
        assert ours.words(text) == other.words(text)


@pytest.mark.parametrize("side", SIDES)
def test_the_shipped_models_tokens_are_those_of_transformers(side: str) -> None:
    lines = random.Random(4).sample(list(open_corpus(str(SAMPLE))), 300)
    abstracts = [line.content.full_text for line in lines if isinstance(line.content, Document)]
    assert_same(shipped(side), [*TEXTS, *abstracts], max_length=128)


@pytest.fixture(scope="module")
def both() -> tuple[Tokenization, Tokenization]:
    loaded = tokenizer_files._from_files(shipped("queries"))
    assert loaded is not None
    return Tokenization(loaded, 128), Tokenization(of_transformers(read_with_transformers(shipped("queries"))), 128)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=80))
def test_tokens_are_the_same_for_any_text(both: tuple[Tokenization, Tokenization], text: str) -> None:
    ours, theirs = both
    assert ours.ids([text]) == theirs.ids([text])
    assert ours.words(text) == theirs.words(text)


def bert(folder: Path, **options: Any) -> Path:
    """Save BERT's own tokenizer with the test's pieces."""
    BertTokenizer(vocab={piece: i for i, piece in enumerate(PIECES)}, **options).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"truncation_side": "left"},
        {"model_max_length": 16},
    ],
)
def test_berts_own_tokenizer_with_its_options(tmp_path: Path, options: dict[str, Any]) -> None:
    assert_same(bert(tmp_path, **options), TEXTS)


@pytest.mark.parametrize("max_length", [8, 32, None])
def test_a_tokenizer_that_is_stored_as_it_is(tmp_path: Path, max_length: int | None) -> None:
    save_tokenizer(tmp_path)
    assert_same(tmp_path, TEXTS, max_length)


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        # transformers builds BERT's tokenizer from these options and the vocabulary, not from the rest of the file.
        ("tokenizer_config.json", lambda content: content.update(do_lower_case=False)),
        ("tokenizer_config.json", lambda content: content.update(strip_accents=True)),
        ("tokenizer.json", lambda content: content["normalizer"].update(lowercase=False)),
        ("tokenizer.json", lambda content: content["model"].update(max_input_chars_per_word=5)),
        ("tokenizer.json", lambda content: content["post_processor"]["single"].pop()),
        ("tokenizer.json", lambda content: content.update(pre_tokenizer={"type": "Whitespace"})),
        ("tokenizer_config.json", lambda content: content.update(tokenizer_class="RobertaTokenizer")),
        ("tokenizer_config.json", lambda content: content.pop("tokenizer_class")),
        ("tokenizer_config.json", lambda content: content.update(extra_special_tokens=["heart"])),
        ("tokenizer_config.json", lambda content: content.update(cls_token="the")),
        ("tokenizer_config.json", lambda content: content.update(split_special_tokens=True)),
    ],
)
def test_what_is_not_certain_is_left_to_transformers(
    tmp_path: Path, file: str, edit: Callable[[dict[str, Any]], Any]
) -> None:
    folder = bert(tmp_path)
    assert tokenizer_files._from_files(folder) is not None
    change(folder / file, edit)
    assert tokenizer_files._from_files(folder) is None
    try:
        theirs = Tokenization(of_transformers(read_with_transformers(folder)), 24)
    except Exception as error:  # what transformers cannot read is its own error here too
        with pytest.raises(type(error)):
            read_tokenizer(folder)
        return
    assert Tokenization(read_tokenizer(folder), 24).ids(TEXTS) == theirs.ids(TEXTS)


@pytest.mark.parametrize("model_type", ["roberta", "modernbert", "qwen2"])
def test_a_model_of_another_kind_is_left_to_transformers(tmp_path: Path, model_type: str) -> None:
    folder = bert(tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert tokenizer_files._from_files(folder) is None


def test_a_tokenizer_can_be_saved_after_its_folder_is_removed(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    loaded = read_tokenizer(bert(first))
    for file in first.iterdir():
        file.unlink()
    loaded.save(second)
    assert_same(second, TEXTS)
