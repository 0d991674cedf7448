"""Errors in a name, a checkpoint, a setting or a text name the error, its place and a remedy."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders import (
    CheckpointError,
    DeviceUnavailable,
    EncoderError,
    RemoteCodeRefused,
    SettingError,
    TextError,
    UnknownEncoder,
    load_encoder,
)
from encoders.training import untrained

MakeCheckpoint = Callable[..., Path]


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_an_unknown_name_names_the_nearest_known_ones() -> None:
    with pytest.raises(UnknownEncoder, match="Did you mean splade-v3 or"):
        load_encoder("splade_v3x")
    with pytest.raises(UnknownEncoder, match="is a file"):
        load_encoder(__file__)


def test_without_a_network_the_error_names_what_was_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(name: str, **_: Any) -> str:
        raise LocalEntryNotFoundError("no connection\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UnknownEncoder, match=r"somebody/model is not a folder.*no connection.*path of its folder"):
        load_encoder("somebody/model")
    with pytest.raises(UnknownEncoder, match=r"naver/splade-v3 is not a folder here, not in the local cache"):
        load_encoder("splade-v3")


def test_a_folder_without_a_checkpoint_or_without_weights(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="contains no checkpoint"):
        load_encoder(str(tmp_path))
    folder = make_checkpoint()
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="contains no weights"):
        load_encoder(str(folder))


def test_a_truncated_weights_file(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=str(folder)):
        load_encoder(str(folder))


def test_a_missing_head_or_layer_is_an_error(make_checkpoint: MakeCheckpoint) -> None:
    for lost in ("cls.", "bert.encoder.layer.1.output"):
        folder = make_checkpoint()
        weights = load_file(folder / "model.safetensors")
        kept = {name: tensor for name, tensor in weights.items() if not name.startswith(lost)}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=r"missing.*random"):
            load_encoder(str(folder))


def test_weights_of_another_shape(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    edit(folder / "config.json", intermediate_size=50)
    with pytest.raises(CheckpointError, match=str(folder)):
        load_encoder(str(folder))


def test_a_tokenizer_of_another_model(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    edit(
        folder / "tokenizer.json",
        added_tokens=[
            {"id": 100 + i, "content": f"[X{i}]", "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for i in range(5)
        ],
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=r"tokenizer and weights do not fit: 105 tokens.*100 terms"):
        load_encoder(str(folder))


def test_a_dense_model_is_not_a_sparse_encoder(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    edit(folder / "config.json", architectures=["BertModel"])
    with pytest.raises(CheckpointError, match="no vocabulary head"):
        load_encoder(str(folder))


def test_remote_code_is_refused(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    edit(folder / "config.json", model_type="new", auto_map={"AutoModelForMaskedLM": "org/repo--modeling.NewModel"})
    with pytest.raises(RemoteCodeRefused, match=r"org/repo--modeling\.NewModel.*allow_remote_code=True"):
        load_encoder(str(folder))
    modules = make_checkpoint()
    (modules / "modules.json").write_text(json.dumps([{"idx": 0, "path": "", "type": "custom_st.Transformer"}]))
    with pytest.raises(RemoteCodeRefused, match=r"custom_st\.Transformer"):
        load_encoder(str(modules))


def test_a_pickle_in_place_of_weights_is_not_run(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    folder = make_checkpoint()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(CheckpointError):
        load_encoder(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({}, "does not contain a list of modules"),
        ([], "does not contain a list of modules"),
        ([{"idx": 0, "path": ""}], "no type"),
        ([{"idx": 0, "path": "../..", "type": "sentence_transformers.models.Transformer"}], "outside the checkpoint"),
        ([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
          {"idx": 1, "path": "", "type": "sentence_transformers.models.Pooling"}], r"Transformer \+ Pooling"),
        ([{"idx": 0, "path": "", "type": "sentence_transformers.models.Router"}], "types and structure"),
        ([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
          {"idx": 1, "path": "1_S", "type": "sentence_transformers.sparse_encoder.models.SpladePooling"}],
         "needs 'fill-mask'"),
    ],
)  # fmt: skip
def test_modules_that_are_not_an_encoder(make_checkpoint: MakeCheckpoint, modules: Any, message: str) -> None:
    folder = make_checkpoint()
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match=message):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("idf", "message"),
    [
        ({"heart": 1.0}, r"99 tokens of the vocabulary have no weight.*query_missing_weight"),
        ({"unheard-of": 1.0}, "1 tokens are not in the vocabulary: 'unheard-of'"),
        ({"heart": "x"}, "'heart' is 'x'"),
        ({"heart": None}, "'heart' is None"),
        ([1], "does not contain a JSON object"),
    ],
)
def test_an_idf_file_that_does_not_fit(make_checkpoint: MakeCheckpoint, tmp_path: Path, idf: Any, message: str) -> None:
    weights = tmp_path / "idf.json"
    weights.write_text(json.dumps(idf))
    settings = {} if "have no weight" in message else {"query_missing_weight": 0.0}
    with pytest.raises(CheckpointError, match=message):
        load_encoder(str(make_checkpoint()), query_family="static", query_weights=str(weights), **settings)


def test_missing_idf_weights_can_be_set_to_one(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    weights = tmp_path / "idf.json"
    weights.write_text('{"heart": 2.5}')
    settings = {"query_family": "static", "query_weights": str(weights), "query_missing_weight": 1}
    query = load_encoder(str(make_checkpoint()), **settings).encode_queries(["heart attack heart"])
    assert sorted(query.data.tolist()) == [1.0, 2.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": 1}, "'colour'"),
        ({"pooling": "median"}, "pooling must be one of max, sum, first, mean"),
        ({"pooling": "mean"}, "family masked-lm has no pooling mean, but max, sum, first"),
        ({"family": "autoencoder"}, "no sparse autoencoder"),
        ({"max_length": 0}, "max_length = 0"),
        ({"max_length": True}, "max_length = True"),
        ({"max_length": 65}, "above 64, the model's limit"),
        ({"max_length": 2}, "above 2"),
        ({"prune_ratio": 1.0}, "prune_ratio"),
        ({"query_max_active_dims": -1}, "max_active_dims"),
        ({"prompt": 5}, "prompt"),
        ({"lexical": "yes"}, "lexical"),
        ({"dtype": "int8"}, "dtype"),
        ({"device": "gpu"}, "'gpu'"),
        ({"query_weights": "/nowhere/idf.json"}, "no file /nowhere/idf.json"),
    ],
)
def test_an_invalid_setting(make_checkpoint: MakeCheckpoint, settings: Any, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        load_encoder(str(make_checkpoint()), **settings)


def test_a_device_that_the_machine_does_not_have(make_checkpoint: MakeCheckpoint) -> None:
    with pytest.raises(DeviceUnavailable, match=r"'cuda:99'; it has cpu"):
        load_encoder(str(make_checkpoint()), device="cuda:99")


def test_a_bad_text_is_named_by_its_position(make_checkpoint: MakeCheckpoint) -> None:
    encoder = load_encoder(str(make_checkpoint()))
    for encode in (encoder.encode_documents, encoder.encode_queries):
        with pytest.raises(TextError, match="text 2 is a int"):
            encode(["a", "b", 3])  # type: ignore[list-item]
        with pytest.raises(TextError, match="text 1 contains a lone surrogate"):
            encode(["a", "x\udfff"])
        with pytest.raises(TextError, match="one str"):
            encode("abc")


def test_query_and_document_sides_of_different_vocabularies(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    other = make_checkpoint()
    edit(other / "tokenizer.json", added_tokens=[])
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["renamed"] = vocabulary.pop("heart")
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="are not the same"):
        load_encoder(str(make_checkpoint()), query_model=str(other))


def test_an_unknown_preset_lists_the_known_ones(make_checkpoint: MakeCheckpoint) -> None:
    with pytest.raises(SettingError, match=r"'spalde'; the presets are deepct, unicoil"):
        untrained("spalde", make_checkpoint())


def test_term_weights_of_the_wrong_size(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    weights = load_file(folder / "model.safetensors")
    weights |= {"tok_proj.weight": torch.ones(1, 7), "tok_proj.bias": torch.ones(1)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="reads 7 numbers, the model gives 32"):
        load_encoder(str(folder))
