"""Layouts 4 and 5, cards, windows, streams."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import CheckpointError, load_encoder
from encoders.cards import ModelCard, find_card, known_names, model_cards
from encoders.checkpoints import opening
from encoders.presets import PRESETS
from encoders.settings import SideSettings, override

MakeCheckpoint = Callable[..., Path]
TEXTS = ["sparse retrieval", "the heart attack of 1999!", "learned " * 60]


def test_query_and_document_models_in_two_folders(make_checkpoint: MakeCheckpoint) -> None:
    documents, queries = make_checkpoint(seed=1), make_checkpoint("distilbert", seed=2)
    pair = load_encoder(str(documents), dtype="float32", query_model=str(queries))
    alone = load_encoder(str(queries), dtype="float32")
    assert abs(pair.encode_queries(TEXTS) - alone.encode_queries(TEXTS)).max() == 0
    assert (
        abs(pair.encode_documents(TEXTS) - load_encoder(str(documents), dtype="float32").encode_documents(TEXTS)).max()
        == 0
    )
    assert pair.fingerprint not in (alone.fingerprint, load_encoder(str(documents)).fingerprint)
    again = load_encoder(pair.name, **json.loads(json.dumps(pair.settings)))
    assert again.fingerprint == pair.fingerprint


# peft uses a name of transformers that is deprecated.
peft_warns = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")


@pytest.fixture
def adapter(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> tuple[Path, Any]:
    """A LoRA adapter with its model, and the merged model that it should be equal to."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForMaskedLM

    base = make_checkpoint()
    model = get_peft_model(
        AutoModelForMaskedLM.from_pretrained(base), LoraConfig(r=4, target_modules=["query", "value"])
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(tmp_path)
    return tmp_path, model.merge_and_unload().eval()


@peft_warns
def test_a_lora_adapter_is_merged_into_the_model_it_names(adapter: tuple[Path, Any]) -> None:
    folder, merged = adapter
    encoder = load_encoder(str(folder), dtype="float32")
    ids = encoder.documents.tokenization.ids(TEXTS[:1])
    with torch.inference_mode():
        expected = torch.log1p(torch.relu(merged(torch.tensor(ids)).logits[0])).amax(dim=0).numpy()
    assert np.abs(encoder.encode_documents(TEXTS[:1]).toarray()[0] - expected).max() < 1e-5
    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    plain = load_encoder(base, dtype="float32")
    assert abs(plain.encode_documents(TEXTS[:1]).toarray()[0] - expected).max() > 0.01
    assert plain.fingerprint != encoder.fingerprint


@peft_warns
def test_an_adapter_that_lacks_weights_is_an_error(adapter: tuple[Path, Any]) -> None:
    from safetensors.torch import load_file, save_file

    folder, _ = adapter
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[1:]), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="does not fit"):
        load_encoder(str(folder))


def test_windows_take_in_the_whole_text(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    plain = load_encoder(str(folder), dtype="float32")
    text = "the heart " * 14 + "vitamin " * 30 + "search attack"
    pieces = ["the heart " * 14 + "vitamin " * 2, "vitamin " * 28 + "search attack"]  # of 30 tokens each
    alone = plain.encode_documents(pieces).toarray()
    for how, combined in (("max", alone.max(axis=0)), ("sum", alone.sum(axis=0))):
        encoder = load_encoder(str(folder), dtype="float32", windows=how)
        found = encoder.encode_documents(["x", text, ""]).toarray()
        assert np.abs(found[1] - combined).max() < 1e-5
        assert np.abs(found[[0, 2]] - plain.encode_documents(["x", ""]).toarray()).max() < 1e-5
    assert np.abs(plain.encode_documents([text]).toarray() - alone[0]).max() < 1e-5


def test_a_stream_is_encoded_in_order_and_read_only_as_far_as_needed(make_checkpoint: MakeCheckpoint) -> None:
    encoder = load_encoder(str(make_checkpoint()), dtype="float32")
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for i in range(3000):
            taken += 1
            yield f"heart {i}"

    blocks = encoder.encode_document_batches(texts())
    first = next(blocks)
    assert taken <= 1024
    rest = list(blocks)
    assert first.shape[0] + sum(block.shape[0] for block in rest) == 3000
    last = encoder.encode_documents(["heart 2999"]).toarray()
    assert np.abs(rest[-1][[-1]].toarray() - last).max() < 1e-5


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory as Linux tells it")
def test_memory_does_not_grow_with_the_length_of_a_stream(make_checkpoint: MakeCheckpoint) -> None:
    encoder = load_encoder(str(make_checkpoint()), dtype="float32")
    count, warm = 50_000, 6 * 1024
    done, at_first, most = 0, 0, 0
    for block in encoder.encode_document_batches(f"heart {number}" for number in range(count)):
        done += block.shape[0]
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        if done <= warm:
            at_first = resident
        most = max(most, resident)
    assert done == count
    # The vectors alone would be 50,000 x some 100 entries x 12 bytes = 57 MiB.
    assert most - at_first < 16 * 2**20


def test_settings_that_change_vectors_change_the_fingerprint(make_checkpoint: MakeCheckpoint) -> None:
    folder = str(make_checkpoint())
    variants = [{}, {"pooling": "sum"}, {"query_family": "static"}, {"max_length": 16}, {"document_prune_ratio": 0.1}]
    prints = [load_encoder(folder, **settings).fingerprint for settings in variants]
    assert len(set(prints)) == len(prints)
    assert load_encoder(folder, dtype="bfloat16").fingerprint == load_encoder(folder, dtype="float32").fingerprint
    with (Path(folder) / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    assert load_encoder(folder).fingerprint not in prints


def test_the_settings_of_a_card_can_be_set() -> None:
    for card in model_cards().values():
        if card.family == "bm25" or card.folder is not None:  # a model of this package has its own settings
            continue
        assert card.family in PRESETS
        assert card.checkpoint is not None
        opening._check_names(card.settings)
        for side in ("query", "document"):
            override(SideSettings(), card.settings, side)
        assert card.licence
        assert card.source or not card.figures
    assert len(known_names()) == len(set(known_names()))


def test_a_card_finds_its_checkpoint_and_applies_its_settings(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_checkpoint()
    asked: list[str] = []
    monkeypatch.setattr(opening, "locate", lambda name, known: asked.append(name) or folder)
    for name in ("splade-v3-doc", "naver/splade-v3-doc"):
        encoder = load_encoder(name, dtype="float32")
        assert encoder.encode_queries(["heart attack"]).data.tolist() == [1.0, 1.0]
    efficient = load_encoder("efficient-splade-v")
    assert asked == ["naver/splade-v3-doc"] * 2 + [
        "naver/efficient-splade-V-large-doc", "naver/efficient-splade-V-large-query"
    ]  # fmt: skip
    assert efficient.settings == {}
    assert isinstance(find_card("splade-v3"), ModelCard)
    assert find_card("no such") is None


def test_bfloat16_stays_near_float32(make_checkpoint: MakeCheckpoint) -> None:
    folder = str(make_checkpoint())
    exact = load_encoder(folder, dtype="float32").encode_documents(TEXTS).toarray()
    rounded = load_encoder(folder, dtype="bfloat16").encode_documents(TEXTS).toarray()
    assert 0 < np.abs(exact - rounded).max() < 0.05 * exact.max()


def test_loading_prints_nothing(make_checkpoint: MakeCheckpoint, capfd: pytest.CaptureFixture[str]) -> None:
    folder = str(make_checkpoint())
    capfd.readouterr()
    before = threading.active_count()
    load_encoder(folder).encode_documents(["x " * 500])
    assert capfd.readouterr() == ("", "")
    assert threading.active_count() < before + 10
