"""What is asked of the hub: the weights of every folder, in the form that the repository has them in."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file

from encoders import UnknownEncoder, load_encoder
from encoders.checkpoints.locate import locate

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub with one repository, the folder `hub.repository`; `hub.online` and `hub.asked` are for tests."""

    class Hub:
        repository, cache = tmp_path / "repository", tmp_path / "cache"
        online = True
        asked = 0

        def snapshot_download(self, name: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
            if local_files_only:
                if not self.cache.is_dir():
                    raise LocalEntryNotFoundError("not in the cache")
                return str(self.cache)
            self.asked += 1
            if not self.online:
                raise LocalEntryNotFoundError("no connection")
            for path in self.repository.rglob("*"):
                relative = path.relative_to(self.repository).as_posix()
                if path.is_file() and any(fnmatch.fnmatch(relative, pattern) for pattern in allow_patterns):
                    (self.cache / relative).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, self.cache / relative)
            return str(self.cache)

    made = Hub()
    made.repository.mkdir()
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    return made


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def to_bin(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_weights_of_the_root_in_bin_and_of_a_subfolder_in_safetensors(
    make_checkpoint: MakeCheckpoint, hub: Any
) -> None:
    documents, queries = make_checkpoint(seed=1), make_checkpoint(seed=2)
    shutil.copytree(documents, hub.repository, dirs_exist_ok=True)
    shutil.copytree(queries, hub.repository / "query")
    to_bin(hub.repository)
    encoder = load_encoder("somebody/two-models", dtype="float32")
    texts = ["the heart attack"]
    for found, folder in ((encoder.encode_documents, documents), (encoder.encode_queries, queries)):
        expected = load_encoder(str(folder), dtype="float32").encode_documents(texts)
        # Where the arrays begin in memory decides how MKL adds: 2.1e-6 with AVX2. Other weights differ by tenths.
        assert np.abs((found(texts) - expected).toarray()).max() < 3e-6
    # Everything is in the cache now: the hub is not asked again.
    hub.asked, hub.online = 0, False
    load_encoder("somebody/two-models")
    assert hub.asked == 0


def test_bin_weights_are_left_where_safetensors_are(make_checkpoint: MakeCheckpoint, hub: Any) -> None:
    shutil.copytree(make_checkpoint(), hub.repository, dirs_exist_ok=True)
    (hub.repository / "pytorch_model.bin").write_bytes(b"not asked for")
    (hub.repository / "onnx").mkdir()
    (hub.repository / "onnx" / "model.onnx").write_bytes(b"not asked for")
    load_encoder("somebody/model")
    assert not {name for name in files(hub.cache) if name.endswith((".bin", ".onnx"))}


def test_a_cache_without_the_weights_of_one_folder_is_completed(make_checkpoint: MakeCheckpoint, hub: Any) -> None:
    shutil.copytree(make_checkpoint(), hub.repository, dirs_exist_ok=True)
    to_bin(hub.repository)
    shutil.copytree(make_checkpoint(), hub.repository / "query")
    shutil.copytree(hub.repository, hub.cache, ignore=shutil.ignore_patterns("*.bin"))  # as an older version left it
    assert locate("somebody/model", []) == hub.cache
    assert "pytorch_model.bin" in files(hub.cache)
    # Without a network the reader says what is missing.
    (hub.cache / "pytorch_model.bin").unlink()
    hub.online = False
    with pytest.raises(Exception, match="contains no weights"):
        load_encoder("somebody/model").encode_documents(["x"])


@pytest.mark.parametrize("place", [".", "onnx"])
def test_an_onnx_export_without_other_weights(make_checkpoint: MakeCheckpoint, hub: Any, place: str) -> None:
    shutil.copytree(make_checkpoint(), hub.repository, dirs_exist_ok=True)
    (hub.repository / "model.safetensors").unlink()
    (hub.repository / place).mkdir(exist_ok=True)
    for name in ("model.onnx", "model.onnx_data", "model_quantized.onnx"):
        (hub.repository / place / name).write_bytes(b"a graph")
    found = locate("somebody/export", [])
    graphs = {name for name in files(found) if "onnx" in name}
    prefix = "" if place == "." else "onnx/"
    assert graphs == {f"{prefix}model.onnx", f"{prefix}model.onnx_data"}


def test_a_graph_of_another_name_is_found_as_well(hub: Any) -> None:
    (hub.repository / "tokenizer.json").write_text("{}")
    (hub.repository / "splade.onnx").write_bytes(b"a graph")
    assert "splade.onnx" in files(locate("somebody/export", []))


def test_a_repository_without_any_weights_is_downloaded_and_refused_by_its_reader(hub: Any) -> None:
    (hub.repository / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    with pytest.raises(Exception, match=r"no weights|cannot be read"):
        load_encoder("somebody/empty")
    hub.online = False
    shutil.rmtree(hub.cache)
    with pytest.raises(UnknownEncoder, match="no connection"):
        load_encoder("somebody/empty")
