"""Folders that the code of the LSR framework and of naver/splade wrote, and the weights that it computed from them.

authors_layouts.tar.xz was recorded by running that code (thongnt99/learned-sparse-retrieval at d702026 with
transformers 4.36, naver/splade with transformers 5.23) on random models of one layer: the folders as they were saved,
and expected.json with each text's weights in float32. No code of theirs is part of this repository.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders import CheckpointError, UnknownEncoder, load_encoder
from encoders.checkpoints.saving import save_encoder

RECORDED = Path(__file__).parent / "authors_layouts.tar.xz"
# Kind: the encoders in the folder.
FRAMEWORK = ["splade", "splade_bert", "splade_sum", "splade_asm", "unicoil", "deepct", "qmlp_dmlm", "qbin_dmlm",
             "qbin_dmlp", "qmlp_dbin", "epic"]  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(RECORDED) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def framework(recorded: Path, tmp_path: Path) -> Any:
    """Return a function that copies a recorded folder of the framework, with the transformer that it names."""

    def copy(kind: str) -> Path:
        folder = tmp_path / kind
        shutil.copytree(recorded / "framework" / kind, folder)
        base = recorded / "framework" / ("base-bert" if kind == "splade_bert" else "base-distilbert")
        for config in folder.glob("*_encoder/config.json"):
            content = json.loads(config.read_text())
            if "tf_base_model_name_or_dir" in content:
                config.write_text(json.dumps({**content, "tf_base_model_name_or_dir": str(base)}))
        return folder

    return copy


def largest_difference(folder: Path, expected: dict[str, Any], **settings: Any) -> float:
    """Return the largest difference of any weight on either side, over texts alone and together."""
    encoder = load_encoder(str(folder), dtype="float32", device="cpu", **settings)
    worst = 0.0
    for side, encode in (("queries", encoder.encode_queries), ("documents", encoder.encode_documents)):
        # An index has no weights below zero: DeepCT's queries have some.
        theirs = np.maximum(np.array(expected[side]), 0.0)
        assert (theirs > 0).sum() > len(theirs)
        alone = np.concatenate([encode([text]).toarray() for text in expected["texts"]])
        worst = max(worst, float(np.abs(encode(expected["texts"]).toarray() - theirs).max()))
        worst = max(worst, float(np.abs(alone - theirs).max()))
    return worst


def read(file: Path) -> Any:
    return json.loads(file.read_text())


@pytest.mark.parametrize("kind", FRAMEWORK)
def test_a_folder_of_the_lsr_framework(framework: Any, tmp_path: Path, kind: str) -> None:
    folder = framework(kind)
    expected = read(folder / "expected.json")
    difference = largest_difference(folder, expected)
    print(f"LSR framework, {kind}: largest difference {difference:.1e}")
    # A sum adds up the rounding of 30 positions.
    assert difference < (1e-5 if kind != "splade_sum" else 5e-5)
    # Saved in our own layout, without the transformer that the framework's folder names, it is the same encoder.
    encoder: Any = load_encoder(str(folder), dtype="float32", device="cpu")
    save_encoder(encoder, tmp_path / "own")
    assert largest_difference(tmp_path / "own", expected) < 5e-5


def test_a_framework_folder_is_refused_by_name_where_it_is_not_understood(framework: Any) -> None:
    folder = framework("splade_asm")
    query = folder / "query_encoder" / "config.json"
    good = query.read_text()
    for change, message in [
        ({"model_type": "CLS_MLM"}, "CLS_MLM"),
        ({"activation": "identity", "norm": "log1p"}, "identity.*log1p"),
        ({"activation": "softplus", "pool": "sum"}, "depends on how a batch is padded"),
        ({"term_importance": "other"}, "parts 'no' or 'epic'"),
        ({"tf_base_model_name_or_dir": "no such folder"}, "config.json of no such folder"),
    ]:
        query.write_text(json.dumps({**json.loads(good), **change}))
        with pytest.raises((CheckpointError, UnknownEncoder), match=message):
            load_encoder(str(folder))
    query.write_text(good)
    assert load_encoder(str(folder)).encode_queries(["heart"]).nnz > 0
    (folder / "tokenizer").rename(folder / "elsewhere")
    with pytest.raises(CheckpointError, match="tokenizer is missing"):
        load_encoder(str(folder))


def test_the_transformer_of_a_framework_folder_may_be_a_known_name_but_must_fit(framework: Any) -> None:
    folder = framework("splade")
    config = folder / "shared_encoder" / "config.json"
    content = {**read(config), "tf_base_model_name_or_dir": "distilbert-base-uncased"}
    config.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"shared_encoder"):  # six layers of 768, but the weights are one of 16
        load_encoder(str(folder))


@pytest.mark.parametrize("kind", ["separate", "pair", "shared"])
def test_a_folder_of_naver_splade(recorded: Path, kind: str) -> None:
    folder = recorded / "naver" / kind
    difference = largest_difference(folder, read(folder / "expected.json"))
    print(f"naver/splade, {kind}: largest difference {difference:.1e}")
    assert difference < 1e-5
    encoder: Any = load_encoder(str(folder), dtype="float32")
    assert (encoder.queries is encoder.documents) is (kind == "shared")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("query", {"query_lexical": True}),
        ("document", {"document_lexical": True}),
        ("both", {"lexical": True}),
    ],
)
def test_lexical_sides_count_unknown_tokens_and_leave_out_masks_as_naver_splade_does(
    recorded: Path, kind: str, settings: dict[str, Any]
) -> None:
    folder = recorded / "naver" / "shared"
    texts = read(folder / "expected.json")["texts"]
    # Their `if pad_id:` is never true for the id 0: a [PAD] in a text counts, and so does a batch's padding.
    kept = [row for row, text in enumerate(texts) if "[PAD]" not in text]
    sides = read(folder / "lexical.json")[kind]
    expected = {
        "texts": [texts[row] for row in kept],
        **{side: [rows[i] for i in kept] for side, rows in sides.items()},
    }
    assert any("[UNK]" in text for text in expected["texts"])
    assert any("[MASK]" in text for text in expected["texts"])
    difference = largest_difference(folder, expected, **settings)
    print(f"naver/splade, lexical {kind}: largest difference {difference:.1e}")
    assert difference < 1e-5


def test_documents_of_splade_doc_are_pooled_by_sum(recorded: Path) -> None:
    folder = recorded / "naver" / "shared"
    expected = read(folder / "lexical.json")["doc"]["documents"]
    texts = read(folder / "expected.json")["texts"]
    encoder = load_encoder(str(folder), dtype="float32", document_pooling="sum", query_family="static")
    found = encoder.encode_documents(texts).toarray()
    assert np.abs(found - np.array(expected)).max() < 5e-5
    # Their queries: every token but padding, CLS and SEP, once. Ours are without the positions that the tokenizer adds.
    ordinary = [row for row, text in enumerate(texts) if not any(mark in text for mark in ("[CLS]", "[SEP]", "[PAD]"))]
    queries = np.array(read(folder / "lexical.json")["doc"]["queries"])
    ours = encoder.encode_queries(texts).toarray()
    assert np.array_equal(ours[ordinary], queries[ordinary])
