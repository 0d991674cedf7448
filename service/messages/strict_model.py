"""What all request models share: unknown fields are refused, types are not converted, no text holds a NUL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul_character", "holds a NUL character")
    return text


Text = Annotated[str, AfterValidator(_refuse_nul)]


class Strict(BaseModel):
    """A JSON object whose fields are all known and of the right type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


def exactly_one_of(**given: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Say "exactly one of these properties" in JSON Schema, where null is as good as nothing."""

    def write(schema: dict[str, Any]) -> None:
        shared = {name: one for name, one in schema.pop("properties").items() if name not in given}
        for name in ("additionalProperties", "required"):
            schema.pop(name, None)
        schema["anyOf"] = [
            {
                "type": "object",
                "properties": {other: given[other] if other == name else {"type": "null"} for other in given} | shared,
                "required": [name],
                "additionalProperties": False,
            }
            for name in given
        ]

    return write
