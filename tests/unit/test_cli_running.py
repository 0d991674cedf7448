"""Errors as messages and exit codes, in this process: what `lsr` prints for an invalid command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsr.cli.running import run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LSR_DEBUG", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("serach x y", "Did you mean 'search'?"),
        ("index c.jsonl --ouut d", "Did you mean --out?"),
        ("index c.jsonl", "Missing option '--out'"),
        ("index c.jsonl --out d --format jsonk", "jsonk"),
        ("index nowhere.jsonl --out d", "nowhere.jsonl: no such file or folder"),
        ("index c.jsonl --out d --schema {", "malformed JSON"),
        ("index c.jsonl --out d --schema [1]", "--schema"),
        ("search nowhere query", "nowhere"),
        ("search . query", "not a collection"),
        ("search .", "QUERY"),
        ("search . query -k 0", "-k: 0 is out of range"),
        ("search . query -k many", "-k"),
        ('search . --sparse {"lobster":NaN}', "NaN is not a JSON number at lobster"),
        ('search . --sparse {"lobster":-1}', "sparse.lobster"),
        ("search . query --filter {", "--filter"),
        ("verify .", "not a collection"),
        ("serve nowhere", "nowhere"),
        ("serve . --host 0.0.0.0", "no API key"),
        ("serve . --port 0 --api-key-file nokeys", "nokeys"),
        ("config shwo", "Did you mean 'show'?"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_exit_2_with_a_message_on_stderr_only(
    folder: Path, capfd: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    (folder / "c.jsonl").write_text('{"id":"a","text":"x"}\n')
    assert run(line.split()) == 2
    out, err = capfd.readouterr()
    assert words in err
    assert err.startswith("lsr: ")
    assert "Traceback" not in err
    assert out == ""


def test_an_unforeseen_error_shows_its_traceback_only_when_debugging(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("lsr.settings.setting_names", broken)
    assert run(["config", "show"]) == 1
    err = capfd.readouterr().err
    assert "ZeroDivisionError: a bug" in err
    assert "LSR_DEBUG=1" in err
    assert "Traceback" not in err
    monkeypatch.setenv("LSR_DEBUG", "1")
    assert run(["config", "show"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_ctrl_c_is_exit_130(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lsr.settings.setting_names", interrupted)
    assert run(["config", "show"]) == 130
    assert capfd.readouterr().err == "lsr: interrupted\n"


def test_config_show_prints_values_and_origins_also_as_json(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lsr.toml").write_text("k = 3\n")
    monkeypatch.setenv("LSR_PORT", "9200")
    assert run(["config", "show", "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["k"] == {"value": 3, "origin": "lsr.toml"}
    assert shown["port"] == {"value": 9200, "origin": "LSR_PORT"}
    assert shown["host"] == {"value": "127.0.0.1", "origin": "default"}


def test_doctor_names_a_collection_that_does_not_open(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "catalog.sqlite").write_bytes(b"no database at all")
    assert run(["doctor", str(folder), "--json"]) == 1
    findings = json.loads(capfd.readouterr().out)
    assert [finding["name"] for finding in findings if finding["verdict"] == "failure"] == ["broken"]
    assert {"numba", "torch", "sqlite"} <= {finding["name"] for finding in findings}
