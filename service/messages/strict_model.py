"""What all request models share: unknown fields are refused, types are not converted, null means "not given", no text
holds a NUL.

The number of errors is limited while they are collected: a body of 30 MB can have millions of wrong entries, and
pydantic keeps about a kilobyte for each. So a list is left at its first wrong entry, an object of values after
a few, and of unknown fields the first MAX_UNKNOWN are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MAX_UNKNOWN: Final = 5
_PART: Final = 100


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul_character", "holds a NUL character")
    return text


Text = Annotated[str, AfterValidator(_refuse_nul)]


def _limit_errors(schema: Any) -> None:
    """Change a core schema, in place, so that it reports the first wrong entry of a list, the first of an object.

    A second call changes nothing: pydantic passes the schema of a model again wherever the model is used.
    """
    if isinstance(schema, dict):
        if schema.get("type") == "function-wrap" and getattr(schema["function"]["function"], "in_parts", False):
            return
        for part in schema.values():
            _limit_errors(part)
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        elif schema.get("type") == "dict":
            inner: Any = dict(schema)
            schema.clear()
            schema.update(core_schema.no_info_wrap_validator_function(_in_parts(inner.get("max_length")), inner))
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            _limit_errors(part)


def _in_parts(max_length: int | None) -> Callable[[Any, ValidatorFunctionWrapHandler], Any]:
    """Return a validator of an object of values: at most `_PART` of them are validated before the first error."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, dict) or len(value) <= (max_length or _PART):
            return handler(value)
        entries = iter(value.items())
        if max_length is not None:
            return handler(dict(islice(entries, max_length + 1)))
        merged: dict[Any, Any] = {}
        while part := dict(islice(entries, _PART)):
            merged |= handler(part)
        return merged

    validate.in_parts = True  # type: ignore[attr-defined]
    return validate


class Strict(BaseModel):
    """A JSON object whose fields are all known and of the right type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Limit the errors of lists and of objects of values."""
        schema = handler(source)
        _limit_errors(schema)
        return schema

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say that an optional field may be null."""
        shown = handler(schema)
        described = handler.resolve_ref_schema(shown)
        required = described.get("required", ())
        for name, field in described.get("properties", {}).items():
            if name not in required and not _may_be_null(field):
                described["properties"][name] = _or_null(field)
        return shown

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """Leave out optional fields that are null, and all but the first unknown fields."""
        if not isinstance(value, dict):
            return value
        nulls = [name for name, one in value.items() if one is None] if None in value.values() else []
        if not nulls and len(value) <= len(cls.model_fields):
            return value
        required = {field.alias or name: field.is_required() for name, field in cls.model_fields.items()}
        kept = {name: one for name, one in value.items() if name in required and (one is not None or required[name])}
        return kept | dict(islice(((name, one) for name, one in value.items() if name not in required), MAX_UNKNOWN))


def _may_be_null(schema: dict[str, Any]) -> bool:
    return "null" in schema.get("type", ()) or {"type": "null"} in schema.get("anyOf", ())


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a property with null as a further alternative."""
    around: dict[str, Any] = {
        name: schema[name] for name in ("title", "description", "default", "examples") if name in schema
    }
    inner = {name: one for name, one in schema.items() if name not in around}
    forms = inner["anyOf"] if list(inner) == ["anyOf"] else [inner]
    return {"anyOf": [*forms, {"type": "null"}], **around}


def exactly_one_of(
    forms: dict[str, str], *, or_text: dict[str, Any] | None = None, **given: dict[str, Any]
) -> Callable[[dict[str, Any]], None]:
    """Say "exactly one of these properties" in JSON Schema, where null is as good as nothing.

    forms    the title of the form with each property: openapi.py makes a component of that name from it
    or_text  the schema of one more form, a plain string
    """

    def write(schema: dict[str, Any]) -> None:
        shared = {name: one for name, one in schema.pop("properties").items() if name not in given}
        for name in ("additionalProperties", "required", "type"):
            schema.pop(name, None)
        schema["anyOf"] = [
            {
                "type": "object",
                "title": forms[name],
                "properties": {name: given[name], **{other: {"type": "null"} for other in given if other != name}}
                | shared,
                "required": [name],
                "additionalProperties": False,
            }
            for name in given
        ]
        if or_text is not None:
            schema["anyOf"].append(or_text)

    return write
