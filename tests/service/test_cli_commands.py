"""The `lsr` command as a user runs it: a separate process, real files, real signals, a real socket."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsr.cli.running import run
from tests.conftest import interruptible

LSR = [sys.executable, "-m", "lsr"]

LINES = [
    {"id": "d1", "title": "Lobster roll", "text": "A roll filled with lobster.", "metadata": {"year": 2019}},
    {"id": "d2", "text": "Egg roll with cabbage.", "metadata": {"year": 2021}},
    {"id": "d3", "text": ""},
    {"id": "d4", "title": "A\x1b[31m red\nherring", "text": "herring in a roll", "metadata": {"year": 2022}},
]


def lsr(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*LSR, *arguments], input=stdin, capture_output=True, timeout=240, env=os.environ | environment, check=False
    )


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


@pytest.fixture(scope="module")
def collection(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "rolls"
    done = lsr("index", str(corpus), "--out", str(path), "--schema", '{"year":"int"}', "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["accepted"], report["failed"], report["empty"]) == (4, 0, 1)
    assert b"\x1b" not in done.stderr, "a bar was drawn although stderr is not a terminal"
    return path


def test_python_m_lsr_is_the_lsr_command() -> None:
    script = Path(sys.executable).with_name("lsr")
    outputs = [
        subprocess.run(
            [*command, "--help"], env={**os.environ, "COLUMNS": "80"}, capture_output=True, timeout=240, check=True
        ).stdout
        for command in ([script], [sys.executable, "-m", "lsr"])
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith(b"Usage: lsr ")
    commands = outputs[0].partition(b"Commands:")[2].splitlines()
    assert len(commands) > 20
    assert [line for line in commands if line.endswith(b"...")] == [], "a description is cut"


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "numba", "torch", "pyarrow", "fastapi", "scipy", "orjson", "transformers"}
    code = f"import sys; from lsr.cli.running import run; run(['--help']); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=240, check=True)
    assert done.stdout.decode().endswith("\nset()\n")


def test_invalid_lines_are_reported_with_their_numbers_and_the_others_are_indexed(tmp_path: Path) -> None:
    lines = [
        json.dumps(LINES[0]),
        "this is not JSON",
        json.dumps(LINES[0]),
        json.dumps(LINES[1]),
        '{"id":"x","text":NaN}',
    ]
    done = lsr("index", "-", "--out", str(tmp_path / "c"), stdin="\n".join(lines).encode(), TMPDIR=str(tmp_path))
    assert done.returncode == 4
    told = done.stderr.decode().splitlines()
    assert [line.split(":")[:3] for line in told] == [["lsr", " stdin", number] for number in "235"]
    assert "d1" in told[1]
    assert b"2 documents" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["c"], "the copy of stdin was left behind"


def test_a_corpus_of_bad_lines_only_is_a_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.jsonl").write_text("bad\n")
    assert run(["index", str(tmp_path / "c.jsonl"), "--out", str(tmp_path / "c")]) == 1
    assert "c.jsonl:1: malformed JSON" in capfd.readouterr().err


def test_search_prints_hits_on_stdout_only_and_a_document_cannot_steer_the_terminal(
    collection: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", str(collection), "red roll", "--explain"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "\x1b" not in out
    first = out.splitlines()[0].split()
    assert first[0] == "1"
    assert first[2] == "d4"
    assert "red" in out.splitlines()[1]


def test_search_as_json_filters_and_explains(collection: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = [
        "search",
        str(collection),
        "lobster roll",
        "--json",
        "--explain",
        "--exact",
        "--filter",
        '{"year":{"gte":2020}}',
    ]
    assert run(line) == 0
    answer: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert {hit["id"] for hit in answer["hits"]} == {"d2", "d4"}
    for hit in answer["hits"]:
        shown = sum(term["contribution"] for term in hit["matched"]) + hit["other_terms"]
        assert shown == pytest.approx(hit["score"], abs=1e-6)


def test_a_sparse_query_searches_without_an_encoder(collection: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["search", str(collection), "--sparse", '{"lobster":2.0}', "--json"]) == 0
    assert [hit["id"] for hit in json.loads(capfd.readouterr().out)["hits"]] == ["d1"]


@pytest.mark.parametrize("query", ["", "  ", "zyzzyva"])
def test_a_query_that_can_match_nothing_is_a_warning_not_an_error(
    collection: Path, capfd: pytest.CaptureFixture[str], query: str
) -> None:
    assert run(["search", str(collection), query]) == 0
    out, err = capfd.readouterr()
    assert out == "no hits\n"
    assert err.startswith("lsr: warning: ")


def test_an_existing_collection_is_not_overwritten(
    corpus: Path, collection: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["index", str(corpus), "--out", str(collection)]) == 2
    assert "collection already" in capfd.readouterr().err
    assert run(["verify", str(collection)]) == 0


def test_verify_names_the_damaged_file_with_exit_code_3(
    collection: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(collection, tmp_path / "copy")
    victim = max(copy.glob("segments/*/vectors/default/*.npy"), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    assert run(["verify", str(copy), "--json"]) == 3
    out, err = capfd.readouterr()
    problems = json.loads(out)["problems"]
    assert [Path(problem["path"]).name for problem in problems] == [victim.name]
    assert victim.name in err


def test_ctrl_c_ends_with_130_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*LSR, "index", "-", "--out", str(tmp_path / "c")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        preexec_fn=interruptible,
    )
    with process:
        wait_for(lambda: list(tmp_path.glob("lsr-stdin-*")))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"lsr: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_closes_the_pipe_causes_no_error_message() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run([*LSR, "config", "show"], stdout=writer, stderr=subprocess.PIPE, timeout=240, check=False)
    os.close(writer)
    assert process.stderr == b""


def test_a_terminal_shows_a_bar_on_stderr(corpus: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    line = [*LSR, "index", str(corpus), "--out", str(tmp_path / "c")]
    process = subprocess.Popen(line, stderr=theirs, stdout=subprocess.PIPE, env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    drawn = b""
    with process:
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    drawn += os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
        assert process.stdout is not None
        assert b"4 documents" in process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert b"indexing" in drawn
    assert b"100%" in drawn


def test_serve_prints_its_url_answers_and_stops_on_ctrl_c(collection: Path) -> None:
    process = subprocess.Popen(
        [*LSR, "serve", str(collection), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        request = urllib.request.Request(
            f"{url}/v1/collections/rolls/search",
            data=b'{"query":{"text":"lobster"}}',
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert [hit["id"] for hit in json.load(response)["hits"]] == ["d1"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_explained_words_are_the_documents_and_add_up_to_the_score(
    collection: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", str(collection), "lobsters rolling", "--explain", "-k", "1"]) == 0
    first, *rows = capfd.readouterr().out.splitlines()
    shown = {row.split()[1]: float(row.split()[0]) for row in rows}
    assert {"lobster", "roll"} == {word.casefold() for word in shown}
    assert sum(shown.values()) == pytest.approx(float(first.split()[1]), abs=2e-4)
    assert all(" × " in row for row in rows)
