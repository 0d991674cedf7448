"""Every link inside the repository's Markdown leads to a file, and every anchor to a heading. It only reads files."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_CODE = re.compile(r"`[^`\n]*`")


def pages() -> list[Path]:
    """All Markdown files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(path for path in (ROOT / line for line in found) if path.exists())


def links(text: str) -> list[str]:
    """Return the targets of a page's links; what stands in code is none."""
    return _LINK.findall(_CODE.sub("", _FENCED.sub("", text)))


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them: a repeated one gets a number."""
    found: dict[str, int] = {}
    names = set()
    for line in _FENCED.sub("", path.read_text(encoding="utf-8")).splitlines():
        match = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if match is None:
            continue
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
        name = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return frozenset(names)


def broken(path: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    wrong = []
    for link in links(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


def test_every_link_leads_somewhere() -> None:
    found = pages()
    assert len(found) > 80
    wrong = {str(page.relative_to(ROOT)): links for page in found if (links := broken(page))}
    assert wrong == {}


def test_every_page_of_the_documentation_is_reached_from_its_home() -> None:
    """From docs/index.md by links, or from the site's navigation."""
    docs = ROOT / "docs"
    nav = re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2])
    todo = [docs / "index.md", *(docs / name for name in nav)]
    reached: set[Path] = set()
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        names = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")) if ":" not in link)
        todo += [(page.parent / name).resolve() for name in names if name]
    assert [str(page) for page in sorted(docs.rglob("*.md")) if page not in reached] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("# A b\n[x](#a-b) [y](page.md#a-b) [z](https://example.org/none)\n", []),
        ("[x](none.md) `[y](none.md)`\n```\n[z](none.md)\n```\n", ["none.md"]),
        ("# Same\n# Same\n[x](#same-1) [y](#same-2)\n", ["#same-2"]),
        ("## `code`, and (more)\n[x](#code-and-more) ![y](none.png)\n", ["none.png"]),
    ],
)
def test_a_link_to_nothing_is_found(tmp_path: Path, text: str, wrong: list[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert broken(page) == wrong
