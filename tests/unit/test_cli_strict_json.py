"""Strict JSON: what it refuses, the position it reports, and that it accepts everything that JSON allows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsr.errors import ExitCode, InvalidJson, describe
from lsr.strict_json import MAX_DEPTH, loads

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
