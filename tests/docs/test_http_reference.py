"""docs/http-reference.md is what docs/tools/http_reference.py writes, and names every route of the service."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "docs" / "tools" / "http_reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("http_reference", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(reference: ModuleType) -> None:
    document = reference.openapi()
    written = reference.PAGE.read_text(encoding="utf-8")
    assert written == reference.page(document), "run: .venv/bin/python docs/tools/http_reference.py"
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"### {method.upper()} `{path}`" in written
    for name in document["components"]["schemas"]:
        assert f"### {name}\n" in written
