"""Strict JSON: what it refuses, the position it reports, and that it accepts everything that JSON allows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsr import strict_json
from lsr.errors import ExitCode, InvalidJson, describe
from lsr.strict_json import MAX_DEPTH, loads
from service.messages.document_bodies import NDJSON, parse_batch
from service.problems import ProblemError

KEYS = st.text(alphabet='ab:"\\,{}[]é\u2028', max_size=4)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_every_json_value_without_duplicates_is_read_as_the_standard_parser_reads_it(
    value: object, escape: bool
) -> None:
    text = json.dumps(value, ensure_ascii=escape)
    assert loads(text) == json.loads(text)
    assert loads(text.encode()) == json.loads(text)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), VALUES, st.booleans(), st.data())
def test_a_duplicate_key_is_refused_wherever_it_stands(
    members: dict[str, object], value: object, escape: bool, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(members)))
    name = "".join(f"\\u{ord(c):04x}" for c in key) if escape else json.dumps(key)[1:-1]
    inner = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in members.items()]
    inner.insert(data.draw(st.integers(0, len(inner))), f'"{name}": {json.dumps(value)}')
    with pytest.raises(InvalidJson, match="duplicate key"):
        loads('{"around": [1, {' + ", ".join(inner) + "}]}")


@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        (b'{"a":{"b":[1,NaN]}}', "NaN is not a JSON number", "a.b[1]"),
        (b'{"a":-Infinity}', "Infinity is not a JSON number", "a"),
        (b'{"sparse":{"lobster":1e999}}', "too large", "sparse.lobster"),
        (b'{"title":"\\ud800"}', "lone surrogate", "title"),
        (b'{"title":"\xff"}', "not valid UTF-8", "title"),
        (b'{"title":"\xed\xa0\x80"}', "not valid UTF-8", "title"),
        (b'{"a":{"x":1,"y:z":":","x":[]}}', "duplicate key", "a.x"),
        (b'{"a":1,"b":2 "c"}', "", "b"),
        (b"\xef\xbb\xbf{}", "byte order mark", None),
        (b"", "the input is empty", None),
        (b'{"a":1} x', "unexpected content", None),
    ],
)
def test_the_error_names_reason_and_field(text: bytes, reason: str, field: str | None) -> None:
    with pytest.raises(InvalidJson) as caught:
        loads(text)
    assert reason in str(caught.value)
    assert caught.value.field == field
    assert describe(caught.value).status == 400
    assert describe(caught.value).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_accepted_up_to_the_limit(opening: str, closing: str) -> None:
    assert loads(opening * MAX_DEPTH + "1" + closing * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 1_500, 100_000):
        with pytest.raises(InvalidJson, match="nested deeper than 64"):
            loads(opening * depth + "1" + closing * depth)


def test_a_duplicate_key_in_a_body_too_long_to_scan_is_still_found_and_named() -> None:
    body = '{"colon":"\\u003a","' + "x" * 2_000_000 + '":1,"k":1,"k":2}'
    with pytest.raises(InvalidJson) as caught:
        loads(body)
    assert caught.value.field == "k"


def test_a_string_without_an_end_costs_one_scan() -> None:
    with pytest.raises(InvalidJson):
        loads('{"a":"' + '\\"' * 400_000)  # quadratic time would be minutes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" + b"[]," * strict_json.MAX_CONTAINERS + b"0]", "more than 1,000,000 lists and objects"),
        (b"[" + b"{}," * strict_json.MAX_CONTAINERS + b"0]", "more than 1,000,000 lists and objects"),
        (b"[" * 3_000_000, "more than 1,000,000 lists and objects"),
        (b'["' + b'","' * strict_json.MAX_STRINGS + b'"]', "more than 4,000,000 strings and keys"),
        (b'["\\"",' + b"[]," * strict_json.MAX_CONTAINERS + b"0]", "more than 1,000,000 lists and objects"),
    ],
    ids=["lists", "objects", "depth", "strings", "after-an-escaped-quote"],
)
def test_too_many_values_are_refused_before_they_are_parsed(
    text: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(_: object) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(strict_json.orjson, "loads", parse)
    for form in (text, memoryview(text), text.decode()):
        with pytest.raises(InvalidJson, match=reason):
            strict_json.loads(form)


def test_as_many_values_as_allowed_and_brackets_in_texts_are_accepted() -> None:
    lists = strict_json.loads(b"[" + b"[]," * (strict_json.MAX_CONTAINERS - 1) + b"0]")
    assert len(lists) == strict_json.MAX_CONTAINERS
    latex = json.dumps({"text": r'\frac{a}{b} [x] "' * 400_000})
    assert latex.count("{") + latex.count("[") > strict_json.MAX_CONTAINERS
    assert strict_json.loads(latex) == json.loads(latex)
    numbers = strict_json.loads(b"[" + b"1," * 4_000_000 + b"0]")
    assert len(numbers) == 4_000_001


def test_lines_that_have_too_many_values_together_are_refused() -> None:
    line = b'{"id": "a", "metadata": {"n": [' + b"[]," * 99_999 + b"0]}}\n"
    assert len(parse_batch(line * 9, NDJSON).documents) == 9
    with pytest.raises(ProblemError, match="more than 1,000,000 lists and objects"):
        parse_batch(line * 10, NDJSON)
