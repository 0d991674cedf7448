"""A user's script works beside files that have the names of this program's packages, or the error names the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("index", "encoders", "eval", "service")


def script(folder: Path, code: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script as `python script.py` does: its folder comes first in the path."""
    (folder / "script.py").write_text(code)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, str(folder / "script.py")],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=cwd or folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("kind", ["module", "package", "without an init"])
def test_names_beside_the_script_do_not_matter(tmp_path: Path, kind: str) -> None:
    for name in NAMES:
        path = tmp_path / (f"{name}.py" if kind == "module" else f"{name}/__init__.py")
        path.parent.mkdir(exist_ok=True)
        if kind != "without an init":
            path.write_text("raise RuntimeError('a user file was imported')\n")
    done = script(
        tmp_path,
        "from lsr import Collection, IndexConfig, SparseIndex, evaluate, load_encoder\n"
        "import service\nprint(evaluate.__module__, service.__file__)\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["eval.evaluate_system", str(ROOT / "service" / "__init__.py")]
    for name in NAMES:
        named = f"{name}.py" if kind == "module" else f"{name}/__init__.py"
        said = f"{tmp_path}/{named} has the name of a package of lsr" in done.stderr
        assert said == (kind != "without an init")


def test_a_file_that_was_imported_before_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.py").write_text("mine = 1\n")
    done = script(tmp_path, "import index\nassert index.mine\nimport lsr\n")
    assert done.returncode == 1
    assert f"lsr has a package 'index', but {tmp_path}/index.py was imported under that name before" in done.stderr


def test_nothing_is_said_where_nothing_is_in_the_way(tmp_path: Path) -> None:
    done = script(tmp_path, "import sys, lsr\nprint('index' in sys.modules)\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_a_seal_does_not_depend_on_the_current_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (*NAMES, "lsr", "json"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit(9)\n")
    done = script(
        tmp_path,
        "from lsr.collection import Collection\nfrom lsr.documents import Document\n"
        "from lsr.vectors import VectorConfig\n"
        "with Collection.create('c', vectors={'default': VectorConfig('bm25')}) as made:\n"
        "    made.write([Document('a', text='lobster')])\n"
        "    print(made.seal(), [hit.id for hit in made.search('lobster').hits])\n",
        cwd=elsewhere,
    )
    assert (done.returncode, done.stdout) == (0, "True ['a']\n"), done.stderr
