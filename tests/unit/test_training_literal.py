"""The literal residual path: BM25 over word pieces at the start, then learned, saved and loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from encoders import CheckpointError, SettingError, load_encoder
from encoders.checkpoints.saving import save_encoder
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.settings import SideSettings
from encoders.sides.literal import surrogate_log1p_relu
from encoders.text.tokenization import Tokenization
from encoders.training.dense_teacher import DenseTeacher
from encoders.training.literal_start import start_literal
from encoders.training.masked_lm import warm_up_masked_lm
from encoders.training.query_table import QueryTable
from encoders.training.sentence_transformers_export import write_sentence_transformers
from encoders.training.trainable import TrainableEncoder
from encoders.training.word_pieces import idf_of, piece_statistics

MakeCheckpoint = Callable[..., Path]

TEXTS = [
    "sparse retrieval of the heart",
    "the heart the heart the heart attack",
    "learned search of vitamin c and the retriever",
    "learned " * 60 + "vitamin",
    "a b c d e f g",
    "[SEP] heart 😀",
]
K1, B, LENGTH = 0.9, 0.4, 7.5


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """With models this small, threads cost more time than they save, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def headless(make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without a masked-LM head, as MiniLM is."""
    source, folder = make_checkpoint(), tmp_path_factory.mktemp("headless")
    transformers.BertModel.from_pretrained(source).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def start(headless: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "start"
    write_start(headless, folder)
    return folder


def write_start(backbone: Path, folder: Path, **options: Any) -> None:
    tokenization = Tokenization(read_tokenizer(backbone), None)
    _, frequencies = piece_statistics(tokenization, TEXTS)
    start_literal(
        backbone,
        folder,
        queries=QueryTable(idf_of(frequencies, len(TEXTS))),
        settings=SideSettings(
            family="literal", max_length=16, k1=K1, b=B, average_length=LENGTH, zero_special_ids=True
        ),
        sample=TEXTS,
        **options,
    )


def piece_counts(backbone: Path) -> list[Counter[int]]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(backbone)
    special = set(tokenizer.all_special_ids)
    ids = [tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"] for text in TEXTS]
    return [Counter(token for token in one if token not in special) for one in ids]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_start_is_bm25_over_word_pieces(headless: Path, start: Path, dtype: str) -> None:
    counts = piece_counts(headless)
    frequencies = Counter(token for one in counts for token in one)
    encoder = load_encoder(str(start), dtype=dtype)
    documents, queries = encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)
    for row, one in enumerate(counts):
        saturation = K1 * (1 - B + B * sum(one.values()) / LENGTH)
        expected = {token: tf / (tf + saturation) for token, tf in one.items()}
        found = dict(zip(documents[[row]].indices.tolist(), documents[[row]].data.tolist(), strict=True))
        assert found == pytest.approx(expected, rel=1e-6)
        if row == 3:
            continue  # longer than the tokenizer's limit
        idf = {t: np.log1p((len(TEXTS) - frequencies[t] + 0.5) / (frequencies[t] + 0.5)) for t in one}
        asked = dict(zip(queries[[row]].indices.tolist(), queries[[row]].data.tolist(), strict=True))
        assert asked == pytest.approx(idf, rel=1e-6)


def test_a_backbone_with_a_head_keeps_it_and_starts_at_bm25_too(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    backbone = make_checkpoint("distilbert")
    write_start(backbone, tmp_path / "start")
    rows = load_encoder(str(tmp_path / "start"), dtype="float32").encode_documents(TEXTS)
    assert np.diff(rows.indptr).tolist() == [len(one) for one in piece_counts(backbone)]


def test_expansion_can_start_with_some_terms_that_the_text_does_not_hold(headless: Path, tmp_path: Path) -> None:
    write_start(headless, tmp_path / "start", expansion_terms=3.0)
    rows = load_encoder(str(tmp_path / "start"), dtype="float32").encode_documents(TEXTS)
    more = np.diff(rows.indptr) - [len(one) for one in piece_counts(headless)]
    assert more.mean() == pytest.approx(3.0, abs=0.5)


def test_a_token_beyond_what_the_model_reads_keeps_its_bm25_impact(start: Path) -> None:
    encoder = load_encoder(str(start), dtype="float32")
    trainable = TrainableEncoder(encoder)
    with torch.no_grad():
        encoder.documents.linear.bias.fill_(0.5)
    before = load_encoder(str(start), dtype="float32").encode_documents([TEXTS[3]]).toarray()[0]
    after = trainable.finish().encode_documents([TEXTS[3]]).toarray()[0]
    vitamin, learn = encoder.vocabulary.ids(["vitamin", "learn"]).tolist()
    assert before[vitamin] > 0
    assert after[vitamin] == before[vitamin]
    assert after[learn] == pytest.approx(0.5 * before[learn])


def test_gradients_reach_factor_and_expansion_from_the_first_step(start: Path) -> None:
    trainable = TrainableEncoder(load_encoder(str(start), dtype="float32"))
    own, other = trainable.encoder.vocabulary.ids(["heart", "vitamin"]).tolist()
    weights = trainable.documents([TEXTS[0]])
    assert weights[0, own] > 0
    assert weights[0, other] == 0
    side = trainable.encoder.documents
    weights[0, own].backward(retain_graph=True)
    assert side.linear.weight.grad.abs().sum() > 0
    trainable.zero_grad()
    weights[0, other].backward()
    assert side.projection.layer.bias.grad[other] > 0
    assert side.linear.weight.grad is None or side.linear.weight.grad.abs().sum() == 0


def test_the_surrogate_is_log1p_relu_with_a_slope_below_zero() -> None:
    logits = torch.tensor([-8.0, -1.0, 0.5, 3.0], requires_grad=True)
    weights = surrogate_log1p_relu(logits)
    assert torch.equal(weights, torch.log1p(torch.relu(logits)))
    weights.sum().backward()
    smooth = logits.detach().clone().requires_grad_()
    torch.log1p(torch.nn.functional.softplus(smooth)).sum().backward()
    assert torch.allclose(logits.grad, smooth.grad)


def test_training_and_inference_give_the_same_weights(start: Path) -> None:
    trainable = TrainableEncoder(load_encoder(str(start), dtype="float32")).eval()
    with torch.no_grad():
        trainable.encoder.documents.linear.weight.normal_(std=0.1)
        trainable.encoder.documents.projection.layer.bias.add_(1.0)
    dense = trainable.documents(TEXTS).detach().numpy()
    assert np.abs(trainable.encoder.encode_documents(TEXTS).toarray() - dense).max() < 1e-5


def test_saved_it_loads_here_and_in_sentence_transformers_with_the_same_weights(start: Path, tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder

    encoder = load_encoder(str(start), dtype="float32")
    with torch.no_grad():
        encoder.documents.linear.weight.normal_(std=0.1)
        encoder.documents.projection.layer.bias.add_(1.0)
    save_encoder(encoder, tmp_path / "model")
    assert write_sentence_transformers(tmp_path / "model")
    again = load_encoder(str(tmp_path / "model"), dtype="float32")
    assert np.abs((again.encode_documents(TEXTS) - encoder.encode_documents(TEXTS)).toarray()).max() < 1e-6
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SparseEncoder(str(tmp_path / "model"), device="cpu")
    reference = SparseEncoder(str(tmp_path / "model"), device="cpu", trust_remote_code=True)
    texts = [text for text in TEXTS if "[SEP]" not in text]
    for ours, theirs in (
        (again.encode_documents, reference.encode_document),
        (again.encode_queries, reference.encode_query),
    ):
        found = theirs(texts, convert_to_sparse_tensor=False, show_progress_bar=False).numpy()
        assert np.abs(ours(texts).toarray() - found).max() < 1e-5


def test_masked_lm_warm_up_learns_to_name_tokens(start: Path) -> None:
    side = load_encoder(str(start), dtype="float32").documents
    losses: list[float] = []
    warm_up_masked_lm(
        side, TEXTS, mask_id=4, steps=80, batch_size=4, learning_rate=3e-3, seed=1,
        record=lambda line: losses.append(line["loss_masked_lm"]),
    )  # fmt: skip
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])


def test_a_literal_side_without_its_average_length_or_factor_is_refused(start: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="average_length"):
        load_encoder(str(start), document_average_length=None).prepare_documents()
    save_encoder(load_encoder(str(start), dtype="float32"), tmp_path / "model")
    (tmp_path / "model" / "documents" / "term_weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match="linear layer"):
        load_encoder(str(tmp_path / "model")).prepare_documents()


def test_a_dense_teacher_is_what_sentence_transformers_says(headless: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    for mode in ("mean", "cls"):
        pipeline = [Transformer(str(headless)), Pooling(32, pooling_mode=mode), Normalize()]
        reference = SentenceTransformer(modules=pipeline, device="cpu")
        reference.save(str(tmp_path / mode))
        found = DenseTeacher(tmp_path / mode, device="cpu", dtype="float32").encode(TEXTS)
        expected = reference.encode(TEXTS, show_progress_bar=False)
        assert np.abs(found.astype(np.float32) - expected).max() < 2e-3
