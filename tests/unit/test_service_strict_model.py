"""A model's schema stays the same however often it is used."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from service.messages.strict_model import Strict


class Weights(Strict):
    values: dict[str, float]


def wraps(schema: Any) -> int:
    """Return the number of wrapping validators in a core schema."""
    if isinstance(schema, dict):
        return (schema.get("type") == "function-wrap") + sum(wraps(part) for part in schema.values())
    return sum(wraps(part) for part in schema) if isinstance(schema, (list, tuple)) else 0


def test_an_object_of_values_is_limited_once() -> None:
    for _ in range(5):
        adapter = TypeAdapter(list[Weights])
    assert wraps(Weights.__pydantic_core_schema__) == 1
    assert wraps(adapter.core_schema) == 1
    assert adapter.validate_python([{"values": {"a": 1.0}}]) == [Weights(values={"a": 1.0})]
