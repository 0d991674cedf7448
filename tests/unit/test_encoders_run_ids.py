"""Token ids run by run are the tokenizer's own ids of the whole text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.text import run_ids
from encoders.text.tokenization import Tokenization

MODEL = Path(__file__).parents[2] / "encoders" / "models" / "lsr-mini" / "documents"
PARTS = st.sampled_from(["cell", "cells,", "(BRCA1)", "[MASK]", "a[SEP]b", "[CLS]", "x" * 70, "é", "e\u0301", "\u0301",
                         "中文a", "\t", "\n", "\u00a0", "\u200b", "İ", "10°c", "don't", ""])  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> Tokenization:
    return Tokenization(read_tokenizer(MODEL), 12)


def own_ids(tokenization: Tokenization, text: str, *, special: bool, truncate: bool) -> list[int]:
    [encoding] = tokenization._encode([text], special, truncate)
    ids: list[int] = encoding.ids
    return ids


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(PARTS | st.text(max_size=6), max_size=30), special=st.booleans(), truncate=st.booleans())
@example(parts=[], special=True, truncate=True)
@example(parts=["[SEP]"], special=True, truncate=False)
def test_ids_are_those_of_the_whole_text(whole: Tokenization, parts: list[str], special: bool, truncate: bool) -> None:
    text = " ".join(parts)
    found = whole.ids([text, "cell", text], special_tokens=special, truncate=truncate)
    wanted = own_ids(whole, text, special=special, truncate=truncate)
    assert found == [wanted, own_ids(whole, "cell", special=special, truncate=truncate), wanted]


def test_many_new_runs_are_each_found_again(whole: Tokenization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_ids, "_REMEMBERED", 100)
    texts = [" ".join(f"w{number}x{i}" for i in range(40)) for number in range(40)]
    for _ in range(2):  # the second time after everything was forgotten
        assert whole.ids(texts, truncate=False) == [
            own_ids(whole, text, special=True, truncate=False) for text in texts
        ]
