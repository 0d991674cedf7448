"""Settings: priority of the sources, the source of each value, and the messages for invalid values."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsr.errors import SettingsError
from lsr.settings import Settings, load_settings, setting_names


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_flag_wins_over_variable_over_file_over_default(folder: Path) -> None:
    (folder / "lsr.toml").write_text('port = 1\nhost = "10.0.0.1"\nk = 7\n')
    settings = load_settings({"port": 3, "host": None}, {"LSR_PORT": "2", "LSR_HOST": "10.0.0.2"})
    assert (settings.port, settings.host, settings.k, settings.encoder) == (3, "10.0.0.2", 7, "lsr-mini")
    origins = settings.origins
    assert [origins[name] for name in ("port", "host", "k", "encoder")] == ["flag", "LSR_HOST", "lsr.toml", "default"]
    assert set(origins) == set(setting_names())


def test_the_file_can_be_elsewhere_and_must_then_exist(folder: Path) -> None:
    (folder / "other.toml").write_text("k = 3\n")
    assert load_settings(environment={"LSR_CONFIG": "other.toml"}).k == 3
    with pytest.raises(SettingsError, match=r"LSR_CONFIG: gone\.toml"):
        load_settings(environment={"LSR_CONFIG": "gone.toml"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("prot = 1\n", "did you mean port"),
        ('port = "x"\n', r"lsr\.toml: port: 'x' is not an integer"),
        ("port = 80.5\n", "not an integer"),
        ("port = true\n", "not an integer"),
        ("port = 65536\n", "out of range"),
        ("slow_query_ms = nan\n", "out of range"),
        ("encoder = 3\n", "not a string"),
        ("port = = 1\n", "not TOML"),
        ("[serve]\nport = 1\n", "unknown setting 'serve'"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_and_where(folder: Path, content: str, words: str) -> None:
    (folder / "lsr.toml").write_text(content)
    with pytest.raises(SettingsError, match=words):
        load_settings(environment={})


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(SettingsError, match=r"LSR_PORT: 'tcp://10\.0\.0\.1:80'"):
        load_settings(environment={"LSR_PORT": "tcp://10.0.0.1:80"})
    with pytest.raises(SettingsError, match="-k: 0 is out of range"):
        load_settings({"k": 0}, {})


def test_the_service_keeps_its_own_defaults_but_for_what_is_set() -> None:
    from lsr.cli.serve import service_settings
    from service.settings import ServiceSettings

    assert service_settings(Settings()) == ServiceSettings(default_encoder="lsr-mini")
    changed = service_settings(load_settings(environment={"LSR_SEARCH_QUEUE": "7", "LSR_SLOW_QUERY_MS": "0"}))
    assert (changed.search_queue, changed.slow_query_ms) == (7, 0.0)
