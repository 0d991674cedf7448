"""Write docs/http-reference.md from the service's OpenAPI document: `python docs/tools/http_reference.py`.

Routes by tag, with their parameters, bodies and answers; then every schema with its fields. The prose that explains
them is docs/http-api.md. tests/docs/test_http_reference.py fails while the file is not what this script writes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "http-reference.md"
METHODS = ("get", "post", "put", "patch", "delete")
HEAD = """# HTTP reference

Every route and every schema, generated from the service's OpenAPI document (`/openapi.json`) by
`docs/tools/http_reference.py`. What they mean, with examples and limits, is in [The HTTP API](http-api.md).
Every error is a [Problem](#problem) as `application/problem+json`; a write may be answered 202 with a job.
"""


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of a service without collections."""
    from lsr.store import CollectionStore
    from service import ServiceSettings, create_app

    with tempfile.TemporaryDirectory() as folder, CollectionStore(folder) as store:
        return create_app(store, ServiceSettings()).openapi()


def page(document: Mapping[str, Any]) -> str:
    """Return the reference of an OpenAPI document as Markdown."""
    tags: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                tag = (operation.get("tags") or ["other"])[0]
                tags.setdefault(tag, []).append("\n".join(_operation(method, path, operation)))
    parts = [HEAD]
    for tag, operations in tags.items():
        parts += [f"## {tag[0].upper()}{tag[1:]}\n", *operations]
    parts += ["\n".join(_problems(document)), "## Schemas\n"]
    parts += ["\n".join(_schema(name, one)) for name, one in sorted(document["components"]["schemas"].items())]
    return "\n".join(parts).rstrip() + "\n"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} `{path}`\n"
    yield _prose(operation.get("description") or operation.get("summary", "")) + "\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | default | |\n|---|---|---|---|---|"
        for one in parameters:
            default = "needed" if one.get("required") else _value(one["schema"].get("default"))
            yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {default} | {_cell(one)} |"
        yield ""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{media_type}`: {_type(content['schema'])}\n"
    for status, answer in sorted(operation["responses"].items()):
        if status < "400":
            kinds = sorted({_type(content.get("schema", {})) for content in answer.get("content", {}).values()})
            yield f"Answer {status}: {', '.join(kinds) or 'no body'}\n"
    if problems := [status for status in sorted(operation["responses"]) if status >= "400"]:
        yield f"[Problems](#problems): {', '.join(problems)}\n"


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statuses of all problems, with the reasons that the routes give for them."""
    reasons: dict[str, dict[str, None]] = {}
    for methods in document["paths"].values():
        for method in METHODS:
            for status, answer in methods.get(method, {}).get("responses", {}).items():
                if status >= "400":
                    reasons.setdefault(status, {})[_cell(answer)] = None
    yield "## Problems\n\n| status | reason |\n|---|---|"
    for status, given in sorted(reasons.items()):
        yield f"| {status} | {'. '.join(given)} |"
    yield ""


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield _prose(schema["description"]) + "\n"
    if "properties" not in schema:
        yield f"{_type(schema)}\n"
        return
    yield "| field | type | default | |\n|---|---|---|---|"
    needed = schema.get("required", ())
    for field, one in schema["properties"].items():
        default = "needed" if field in needed else _value(one.get("default"))
        yield f"| `{field}` | {_type(one)} | {default} | {_cell(one)} |"
    yield ""


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in a few words, with a link where it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{anchor(name)})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[key]))
    if "allOf" in schema:
        return " and ".join(_type(one) for one in schema["allOf"])
    if "const" in schema:
        return _value(schema["const"])
    if "enum" in schema:
        return ", ".join(_value(one) for one in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return f"{kind}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None and high is None:
        return ""
    if low is None or high is None:
        return f", at least {_number(low)}" if high is None else f", at most {_number(high)}"
    return f", {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(described: Mapping[str, Any]) -> str:
    return _prose(described.get("description") or "").replace("\n", " ").replace("|", "\\|")


def _prose(text: str) -> str:
    """Return a description; `<` would begin HTML."""
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", text.strip()).replace("<", "&lt;")


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and mkdocs give a heading of plain words."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page(openapi()), encoding="utf-8")
