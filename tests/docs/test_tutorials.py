"""Every command of the tutorials works, and prints what the tutorial says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tutorial", DOCS / "tools" / "run_tutorial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_tutorial"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_does_what_it_says(runner: ModuleType, tutorial: Path) -> None:
    assert runner.check(tutorial) >= 8


def test_there_is_a_tutorial_for_each_user(runner: ModuleType) -> None:
    assert [path.stem for path in TUTORIALS] == ["rag", "research", "service"]
    for path in TUTORIALS:
        shown = [step for step in runner.steps(path.read_text()) if step.expected is not None]
        assert len(shown) >= 6
        assert len(runner.left_out(path.read_text())) <= 1  # the installation


def test_a_block_that_fails_or_prints_something_else_is_named(runner: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nx=2\n```\n\n```sh\necho $x 8080\n```\n\n```text\n2 8080\n```\n\n```python\ny = 1\n```\n")
    assert runner.check(page) == 3
    for block, words in (
        ("```sh\necho one; false\n```\n", "line 1: the block failed and printed:\none"),
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```sh\necho one\n```\n\n```text\ntwo\n```\n", "expected\ntwo\n\nprinted\none"),
        ("```text\ntwo\n```\n", "an output that follows no block"),
    ):
        page.write_text(block)
        with pytest.raises(runner.TutorialFailed, match=words):
            runner.check(page)


@pytest.mark.parametrize(
    ("expected", "printed", "agree"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\n", False),
        ("took 2.3 s, 19 MiB\n", "took 1,234.5 s, 7.25 MiB\n", True),
        ("took 2.3 s\n", "took long s\n", False),
        ("10 documents\n", "11 documents\n", False),
        ("score 1.2…\n", "score 1.2345\n", True),
        ("score 1.2…\n", "score 1.3345\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n…\nd\n", "a\nb\n", False),
        ("a (b)\n", "a (b)  \n", True),
    ],
)
def test_placeholders_stand_for_what_varies_and_nothing_else(
    runner: ModuleType, expected: str, printed: str, agree: bool
) -> None:
    assert runner.agrees(expected, printed) is agree
