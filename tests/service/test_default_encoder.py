"""A collection that is created without an encoder gets lsr-mini, in every interface; other tests set BM25."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lsr.settings
import lsr.vectors
from lsr.collection import Collection
from service.settings import ServiceSettings

TEXTS = ["The valves of the heart.", "Craters and mountains on the moon.", "A survey with sensitive questions."]


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the settings of conftest.py."""
    monkeypatch.delenv("LSR_ENCODER")
    # The class attribute has the default from before conftest.py changed the constant.
    monkeypatch.setattr(lsr.settings, "DEFAULT_ENCODER", lsr.settings.Settings.encoder)


@pytest.mark.usefixtures("untouched")
def test_the_command_line_indexes_with_lsr_mini(tmp_path: Path) -> None:
    corpus, folder = tmp_path / "corpus.jsonl", tmp_path / "collection"
    corpus.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    command = Path(sys.executable).with_name("lsr")
    subprocess.run([command, "index", str(corpus), "--out", str(folder)], check=True, env=dict(os.environ))
    with Collection.open(folder) as collection:
        assert collection.info().vectors["default"].encoder == "lsr-mini"
        # "lunar" is in no text: the model knows related terms.
        assert collection.search("lunar", k=1).hits[0].id == "1"


@pytest.mark.usefixtures("untouched")
def test_python_and_the_service_make_lsr_minis_collections(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "collection") as collection:
        assert collection.info().vectors["default"].encoder == "lsr-mini"
    assert ServiceSettings().default_encoder == "lsr-mini"
    assert lsr.vectors.VectorConfig().encoder == "lsr-mini"
