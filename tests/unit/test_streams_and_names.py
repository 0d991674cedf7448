"""Closed and ASCII streams, full disks behind them, and names with bytes that are not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ODD = os.fsdecode(b"odd\xff\xfe")


def lsr(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which `lsr` is this program."""
    program = f'lsr() {{ "{sys.executable}" -m lsr "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", program + command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an odd name: a corpus and a collection."""
    path = tmp_path_factory.mktemp("names") / ODD
    path.mkdir()
    (path / "c.jsonl").write_text('{"id":"ä1","title":"Crème","text":"a lobster"}\n', encoding="utf-8")
    done = lsr('lsr index "$PWD/c.jsonl" --encoder bm25 --out "$PWD/col"', path)
    assert done.returncode == 0, done.stderr
    assert os.fsencode(path) in done.stdout, "the name is written as it is"
    return path


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("lsr search col lobster >&-", 0, b""),
        ("lsr search col lobster --json >&- 2>&-", 0, b""),
        ("lsr search nothing lobster 2>&-", 2, b""),
        ("lsr encode c.jsonl --encoder bm25 --out - >&-", 1, b"Bad file descriptor"),
        ("lsr encode c.jsonl --encoder bm25 --out - >/dev/full", 1, b"No space left on device"),
        ("lsr search col lobster >/dev/full", 1, b"No space left on device"),
        ("lsr index - --out new <&-", 2, b"stdin: it is closed"),
        ("lsr --help >/dev/full", 1, b"No space left on device"),
    ],
)
def test_closed_and_full_streams(folder: Path, command: str, status: int, said: bytes) -> None:
    done = lsr(command, folder)
    assert (done.returncode, done.stdout) == (status, b"")
    assert said in done.stderr
    assert b"bug" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_an_ascii_terminal_gets_escapes_and_json_stays_json(folder: Path) -> None:
    done = lsr("lsr search col lobster", folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert rb"Cr\xe8me" in done.stdout
    done = lsr("lsr search col lobster --json", folder, PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["hits"][0]["id"] == "ä1"
    assert done.stdout.isascii()


def test_every_command_works_in_a_folder_that_is_not_utf8(folder: Path) -> None:
    (folder / "t").write_text("q1\tlobster\n")
    (folder / "q").write_text("q1 0 ä1 1\n", encoding="utf-8")
    for command in (
        'lsr search "$PWD/col" lobster --json',
        'lsr export "$PWD/col" --to arrow --out "$PWD/v.arrow"',
        'lsr index "$PWD/v.arrow" --out "$PWD/again"',
        'lsr reindex "$PWD/col" --out "$PWD/two" --add second=bm25',
        'lsr eval "$PWD/col" --topics "$PWD/t" --qrels "$PWD/q" --run "$PWD/run" --results "$PWD/results"',
        'lsr leaderboard "$PWD/results" --html "$PWD/page.html" --json',
        'lsr verify "$PWD/col"',
        'lsr snapshot create "$PWD/col"',
        'lsr merge "$PWD/col"',
        'lsr alias "$PWD" papers col',
    ):
        done = lsr(command, folder)
        assert done.returncode == 0, (command, done.stderr)
    assert json.loads(lsr('lsr search "$PWD/two" lobster --json', folder).stdout)["hits"][0]["id"] == "ä1"


def test_what_cannot_be_done_with_such_a_name_is_named(folder: Path) -> None:
    done = lsr('lsr search col "$PWD"', folder)
    assert done.returncode == 2
    assert b"lone surrogate" in done.stderr
    done = lsr('lsr index c.jsonl --out x --schema "$PWD"', folder)
    assert done.returncode == 2
    assert b"not valid UTF-8" in done.stderr
