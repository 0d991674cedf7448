"""The model of this package: it loads by its name, keeps its promises, and made the sample's vectors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import Encoder, SettingError, load_encoder
from encoders.cards import model_cards, shipped_folder
from lsr.cli.sample_vectors import EncodedCorpus, SampleVectors
from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.documents import DEFAULT_VECTOR, Document, SparseByIndex
from lsr.errors import CorpusUnreadable, EncoderMismatch
from lsr.vectors import VectorConfig

SAMPLES = Path(__file__).parents[2] / "samples"
SAMPLE, VECTORS = SAMPLES / "arxiv-10k.jsonl.zst", SAMPLES / "arxiv-10k.lsr-mini.npz"
TEXT = "Statins lower cholesterol and prevent heart attacks in patients with diabetes."


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.set_num_threads(1)
    return load_encoder("lsr-mini", device="cpu", dtype="float32")  # the precision of the references


@pytest.fixture(scope="module")
def vectors() -> SampleVectors:
    return SampleVectors.load(VECTORS)


def test_the_weights_are_small_enough_for_a_repository() -> None:
    folder = shipped_folder(model_cards()["lsr-mini"])
    assert folder is not None
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 48_000_000


def test_a_query_has_its_own_tokens_alone(encoder: Encoder) -> None:
    row = encoder.encode_queries([TEXT])
    assert 0 < row.nnz <= len(encoder.input_term_ids(TEXT))
    assert set(row.indices.tolist()) <= set(encoder.input_term_ids(TEXT).tolist())


def test_a_querys_weights_are_adjusted_to_the_searched_collection(encoder: Encoder, tmp_path: Path) -> None:
    texts = [f"The heart in study {number}: {word}." for number, word in enumerate(("statins", "valves", "rhythm") * 7)]
    with Collection.create(
        tmp_path / "collection", vectors={"default": VectorConfig(encoder="lsr-mini", settings={"dtype": "float32"})}
    ) as collection:
        collection.write([Document(str(i), text=text) for i, text in enumerate(texts)])
        collection.seal()
        statistics = collection.statistics()
        plain, adapted = (
            encoder.encode_queries(["heart statins"]),
            encoder.encode_queries(["heart statins"], statistics),
        )
        heart = encoder.encode_queries(["heart"]).indices[0]
        assert adapted[0, heart] < 0.5 * plain[0, heart]  # it is in every document
        assert collection.search("heart statins", k=1, exact=True).hits[0].score == pytest.approx(
            float((encoder.encode_documents(texts) @ adapted.T).toarray().max()), rel=1e-3
        )


def test_a_document_has_its_own_terms_and_related_ones(encoder: Encoder) -> None:
    row = encoder.encode_documents([TEXT])
    assert row.nnz <= 250
    own = set(encoder.input_term_ids(TEXT).tolist())
    tokens = encoder.vocabulary.tokens(row.indices)
    expansion = {token for token, term in zip(tokens, row.indices.tolist(), strict=True) if term not in own}
    assert "stats" in tokens  # the term of "stat", a piece of "statins"
    assert expansion & {"cardiovascular", "cardiac", "heart", "diabetic", "disease", "therapy", "drug", "drugs"}


def test_bfloat16_moves_weights_by_little_and_swaps_only_what_is_almost_equal(encoder: Encoder) -> None:
    lines = list(open_corpus(str(SAMPLE)))[:3000:100]
    documents = [line.content for line in lines if isinstance(line.content, Document)]
    texts = [" ".join(document.text.split()[:60]) for document in documents]
    exact = encoder.encode_documents(texts).toarray()
    rounded = load_encoder("lsr-mini", device="cpu", dtype="bfloat16").encode_documents(texts).toarray()
    in_both, in_one = (exact > 0) & (rounded > 0), (exact > 0) ^ (rounded > 0)
    # Seen: weights .0057 apart at most, .0012 in the mean; 1.3 % of the terms in one alone, with weights up to .071;
    # scores .3 % of the best apart.
    difference = np.abs(exact - rounded)
    assert 0 < difference[in_both].max() < 0.02
    assert difference[in_both].mean() < 0.003
    assert in_one.sum() < 0.03 * (in_both | in_one).sum()
    assert difference[in_one].max() < 0.15
    queries = encoder.encode_queries([document.title for document in documents]).toarray()
    scores, rounded_scores = queries @ exact.T, queries @ rounded.T
    best = scores.max(axis=1, keepdims=True)
    assert (np.abs(scores - rounded_scores) / best).max() < 0.02
    assert scores.argmax(axis=1).tolist() == rounded_scores.argmax(axis=1).tolist() == list(range(len(documents)))
    swapped = (scores[:, :, None] > scores[:, None, :]) & (rounded_scores[:, :, None] < rounded_scores[:, None, :])
    gaps = (scores[:, :, None] - scores[:, None, :]) / best[:, :, None]
    assert gaps[swapped].max(initial=0.0) < 0.01


def test_the_samples_vectors_are_this_models(encoder: Encoder, vectors: SampleVectors) -> None:
    assert vectors.check(encoder, SAMPLE, 6) == 0
    assert vectors.weights.nnz / vectors.weights.shape[0] <= 250


def test_the_samples_vectors_are_compared_in_the_precision_that_they_were_made_in(vectors: SampleVectors) -> None:
    with pytest.raises(SettingError, match=r"in float32, and this encoder computes in bfloat16"):
        vectors.check(load_encoder("lsr-mini", device="cpu", dtype="bfloat16"), SAMPLE, 1)


def test_vectors_that_were_changed_are_found(encoder: Encoder, vectors: SampleVectors) -> None:
    changed = vectors.weights.copy()
    changed.data = changed.data * 2
    assert dataclasses.replace(vectors, weights=changed).check(encoder, SAMPLE, 3) == 3


def test_another_models_or_samples_vectors_are_refused(vectors: SampleVectors, tmp_path: Path) -> None:
    with pytest.raises(EncoderMismatch, match="encode them again"):
        vectors.require("model-0", SAMPLE)
    (tmp_path / "other").write_text("other")
    with pytest.raises(EncoderMismatch, match="encode them again"):
        vectors.require(vectors.fingerprint, tmp_path / "other")
    with pytest.raises(CorpusUnreadable, match="vectors cannot be read"):
        SampleVectors.load(tmp_path / "other")


def test_documents_have_their_vectors(vectors: SampleVectors, tmp_path: Path) -> None:
    file = tmp_path / "two.jsonl"
    file.write_text('{"id": "a", "text": "t"}\nno JSON\n')
    lines = list(EncodedCorpus(open_corpus(str(file)), vectors))
    first = lines[0].content
    assert isinstance(first, Document)
    vector = first.vectors[DEFAULT_VECTOR]
    assert isinstance(vector, SparseByIndex)
    np.testing.assert_array_equal(vector.indices, vectors.weights[[0]].indices)
    assert not isinstance(lines[1].content, Document)


def test_saved_vectors_are_read_back(vectors: SampleVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "again.npz")
    again = SampleVectors.load(tmp_path / "again.npz")
    assert (again.fingerprint, again.sample) == (vectors.fingerprint, vectors.sample)
    assert abs(again.weights - vectors.weights).nnz == 0


WORDLESS = ("😀", "x" * 300, "😀 " * 40, "", " \n")


def test_a_text_without_a_known_word_has_no_terms_and_no_dense_vector(encoder):
    known = ["a lobster roll", "hello 😀", "!!!"]
    texts = [*WORDLESS, *known]
    matrix, dense = encoder.encode_documents_with_dense(texts)
    assert np.diff(matrix.indptr).tolist()[: len(WORDLESS)] == [0] * len(WORDLESS)
    assert not dense[: len(WORDLESS)].any()
    alone = encoder.encode_documents_with_dense(known)
    assert (np.diff(alone[0].indptr) == 250).all()
    np.testing.assert_allclose(np.linalg.norm(alone[1], axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(encoder.encode_dense_documents(texts)[: len(WORDLESS)], 0.0)
    assert np.diff(encoder.encode_documents(texts).indptr).tolist()[: len(WORDLESS)] == [0] * len(WORDLESS)
    assert np.diff(encoder.encode_queries(list(WORDLESS)).indptr).tolist() == [0] * len(WORDLESS)


def test_a_word_beyond_what_the_model_reads_is_literal(encoder):
    matrix, dense = encoder.encode_documents_with_dense(["😀 " * 200 + "lobster"])
    assert set(matrix.indices.tolist()) == set(encoder.input_term_ids("lobster").tolist())
    assert not dense.any()
