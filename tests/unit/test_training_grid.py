"""Any kind of query side trains with any kind of document side, is saved, and encodes the same when it is opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import load_encoder
from encoders.checkpoints.saving import save_encoder
from encoders.presets import SIDES
from encoders.training import TrainableEncoder, untrained_sides
from lsr.errors import SettingsError
from lsr.training.config import TrainingConfig, parse_config
from lsr.training.context import RunContext
from lsr.training.run import train

MakeCheckpoint = Callable[..., Path]

TEXTS = ["sparse retrieval of the heart", "the heart the heart", "learned " * 40, "[SEP] attack é", "", "vitamin c"]
WORDS = ["heart", "attack", "vitamin", "sparse", "search", "learn"]
DECODERS = ("echo", "bidirectional", "prosper")
QUERIES = [name for name, kind in SIDES.items() if kind.queries and name not in DECODERS]
DOCUMENTS = [name for name, kind in SIDES.items() if kind.documents and name not in DECODERS] + ["literal", "pooled"]
TABLES = ("binary", "idf", "bm25")
EXPANDING = ("masked-lm", "cls-masked-lm", "epic", "literal", "pooled", *DECODERS)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # 70 runs would wait for a busy disk
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def backbone(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint()


@pytest.fixture(scope="module")
def decoder(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint("llama")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"query": f"the {WORDS[i % 6]} {i}", "text": f"{WORDS[(i + 1) % 6]} of {i + 40} and {i % 7}"} for i in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(backbone: Path, pairs: Path, queries: str, documents: str, **changes: Any) -> TrainingConfig:
    content: dict[str, Any] = {
        "model": {"backbone": str(backbone), "max_length": 16, "sample": 8, "queries": queries, "documents": documents},
        "data": [{"path": str(pairs)}],
        "negatives": {"bm25": 4, "per_query": 2},
        "loss": {"infonce": 1.0, "regulariser": "flops", "document_lambda": 1e-3},
        "steps": {"steps": 2, "batch_size": 4, "log_every": 1, "learning_rate": 3e-3, "warm_up": 0.0},
    }
    if queries in TABLES:
        content["model"]["train_queries"] = True
    if documents in TABLES:
        content["model"]["train_documents"] = True
    for table, values in changes.items():
        merged = {**content.get(table, {}), **values}
        content[table] = {key: value for key, value in merged.items() if value is not None}
    return parse_config(content)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("queries", QUERIES)
def test_any_queries_train_with_any_documents(
    backbone: Path, pairs: Path, tmp_path: Path, queries: str, documents: str
) -> None:
    settings = config(backbone, pairs, queries, documents)
    report = train(settings, tmp_path, RunContext(device="cpu"))
    log = lines(tmp_path)
    assert len(log) == 2
    assert all(np.isfinite(one["loss"]) and one["gradient_norm"] > 0 for one in log)
    dtype = {} if {queries, documents} <= set(TABLES) else {"dtype": "float32"}  # tables have none
    encoder: Any = load_encoder(str(report.model), device="cpu", **dtype)
    of_queries, of_documents = encoder.encode_queries(TEXTS), encoder.encode_documents(TEXTS)
    assert of_queries.shape == of_documents.shape == (len(TEXTS), len(encoder.vocabulary))
    assert of_queries.nnz > 0
    assert of_documents.nnz > 0
    for matrix, kind in ((of_queries, queries), (of_documents, documents)):
        if kind not in EXPANDING:  # weights of the text's own tokens alone
            own = set(encoder.queries.tokenization.ids(TEXTS[:1])[0])
            assert set(matrix[[0]].indices.tolist()) <= own
    # The forward pass of training gives what reading gives.
    with torch.no_grad():
        trainable = TrainableEncoder(encoder).eval()
        assert np.abs(trainable.queries(TEXTS).numpy() - of_queries.toarray()).max() < 1e-5
        if documents != "pooled":  # it trains on vectors that were read before
            assert np.abs(trainable.documents(TEXTS).numpy() - of_documents.toarray()).max() < 1e-5
    # Saved once more, from the sides that were read, it is the same.
    save_encoder(encoder, tmp_path / "again")
    again = load_encoder(str(tmp_path / "again"), device="cpu", **dtype)
    assert abs(again.encode_queries(TEXTS) - of_queries).max() < 1e-6
    assert abs(again.encode_documents(TEXTS) - of_documents).max() < 1e-6


@pytest.mark.parametrize(
    ("queries", "documents"),
    [
        ("echo", "echo"),
        ("binary", "echo"),
        ("mlp", "echo"),
        ("echo", "bidirectional"),
        ("idf", "bidirectional"),
        ("mlp", "prosper"),
    ],
)
def test_decoders_are_sides_like_others(
    decoder: Path, pairs: Path, tmp_path: Path, queries: str, documents: str
) -> None:
    report = train(config(decoder, pairs, queries, documents), tmp_path, RunContext(device="cpu"))
    encoder: Any = load_encoder(str(report.model), dtype="float32", device="cpu")
    with torch.no_grad():
        trainable = TrainableEncoder(encoder).eval()
        for encode, refer in (
            (encoder.encode_queries, trainable.queries),
            (encoder.encode_documents, trainable.documents),
        ):
            assert np.abs(encode(TEXTS).toarray() - refer(TEXTS).numpy()).max() < 1e-5
    if "bidirectional" in (queries, documents):
        assert encoder.documents.settings.logit_scale == 32**-0.25
    if queries == "echo" and documents == "bidirectional":  # one reads with a causal mask, the other without
        assert encoder.queries.body is not encoder.documents.body
        assert abs(encoder.encode_queries(TEXTS) - encoder.encode_documents(TEXTS)).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": "mpl", "documents": "mlp"}, r"\[model\] queries = 'mpl' is not known; did you mean mlp"),
        (
            {"queries": "mlp", "documents": "masked"},
            r"\[model\] documents = 'masked' is not known; did you mean masked-lm",
        ),
        ({"queries": "bm25", "documents": "mlp"}, r"\[model\] queries = 'bm25' is not known"),
        ({"queries": "mlp"}, r"\[model\] documents is missing"),
        ({"documents": "mlp"}, r"\[model\] queries is missing"),
        ({"queries": "mlp", "documents": "mlp", "method": "literal"}, r"\[model\] method cannot be combined"),
        ({"queries": "idf", "documents": "bm25"}, r"\[model\] .* have nothing to train; set train_queries"),
        (
            {"queries": "mlp", "documents": "mlp", "train_queries": True},
            r"\[model\] train_queries needs queries of a table",
        ),
        ({"queries": "mlp", "documents": "literal", "conflate": True}, r"\[model\] conflate needs queries = 'idf'"),
        ({"method": "spalde"}, r"\[model\] method = 'spalde' is not known; did you mean splade"),
    ],
)
def test_an_impossible_combination_is_an_error_that_names_the_key(changes: dict[str, Any], message: str) -> None:
    content = {"model": {"backbone": "x", **changes}, "data": [{"path": "p"}], "loss": {"infonce": 1.0}}
    with pytest.raises(SettingsError, match=message):
        parse_config(content)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("masked-lm", r"\[model\] documents = 'masked-lm' needs a \*ForMaskedLM; .* is LlamaForCausalLM"),
        ("epic", r"\[model\] documents = 'epic' needs a \*ForMaskedLM"),
    ],
)
def test_a_backbone_without_the_head_is_an_error_that_names_the_key(
    decoder: Path, pairs: Path, tmp_path: Path, kind: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        train(config(decoder, pairs, "binary", kind), tmp_path, RunContext(device="cpu"))


def test_a_masked_lm_is_not_a_decoder(backbone: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[model\] queries = 'echo' needs a \*ForCausalLM; .* BertForMaskedLM"):
        train(config(backbone, pairs, "echo", "mlp"), tmp_path, RunContext(device="cpu"))


@pytest.mark.parametrize(("queries", "documents"), [("masked-lm", "mlp"), ("mlp", "masked-lm"), ("masked-lm", "bm25")])
def test_a_vocabulary_head_with_more_terms_than_tokens_decides_their_number(
    make_checkpoint: MakeCheckpoint, queries: str, documents: str
) -> None:
    n_tokens = 119
    backbone = make_checkpoint(vocab_size=n_tokens + 9)
    sides = SIDES[queries].queries, SIDES[documents].documents
    assert sides[0] is not None
    assert sides[1] is not None
    encoder = untrained_sides(*sides, backbone, device="cpu")
    assert len(encoder.vocabulary) == n_tokens + 9
    assert encoder.encode_queries(TEXTS).shape == encoder.encode_documents(TEXTS).shape == (len(TEXTS), n_tokens + 9)


@pytest.mark.parametrize("separate", [False, True])
def test_equal_kinds_share_a_model_unless_they_are_to_be_separate(
    backbone: Path, pairs: Path, tmp_path: Path, separate: bool
) -> None:
    settings = config(backbone, pairs, "masked-lm", "masked-lm", model={"separate": separate})
    report = train(settings, tmp_path, RunContext(device="cpu"))
    encoder: Any = load_encoder(str(report.model), dtype="float32", device="cpu")
    assert (encoder.queries.body is encoder.documents.body) is not separate
    # Two models have been trained on different texts; one gives the same for a query as for a document.
    difference = abs(encoder.encode_queries(TEXTS) - encoder.encode_documents(TEXTS)).max()
    assert (difference > 1e-4) if separate else (difference < 1e-6)


def test_bm25_documents_have_bm25s_saturation_of_the_whole_text(backbone: Path, pairs: Path, tmp_path: Path) -> None:
    model = {"train_documents": False, "train_queries": True, "k1": 1.2, "b": 0.75, "max_length": 8}
    report = train(config(backbone, pairs, "idf", "bm25", model=model), tmp_path, RunContext(device="cpu"))
    encoder: Any = load_encoder(str(report.model), device="cpu")
    text = "heart of " * 9 + "vitamin"
    (found,) = encoder.encode_documents([text]).toarray()
    average = encoder.documents.settings.average_length
    texts = [json.loads(line)["text"] for line in pairs.read_text().splitlines()]
    ids = encoder.documents.tokenization.ids(texts, special_tokens=False, truncate=False)
    assert average == pytest.approx(np.mean([len(one) for one in ids]))
    heart, of, vitamin = encoder.vocabulary.ids(["heart", "of", "vitamin"]).tolist()
    length = 1.2 * (1 - 0.75 + 0.75 * 19 / average)
    for term, count in ((heart, 9), (of, 9), (vitamin, 1)):
        assert found[term] == pytest.approx(count / (count + length), rel=1e-6)
    assert np.count_nonzero(found) == 3


@pytest.mark.parametrize("regulariser", ["flops", "l1", "none"])
@pytest.mark.parametrize("query_regulariser", ["flops", "l1", "none", "thresholded-flops"])
def test_each_side_has_its_own_regulariser(
    backbone: Path, pairs: Path, tmp_path: Path, regulariser: str, query_regulariser: str
) -> None:
    loss = {
        "regulariser": regulariser, "document_lambda": 0.5, "query_regulariser": query_regulariser,
        "query_lambda": 0.25, "ramp": 0.0, "threshold": 1,
    }  # fmt: skip
    settings = config(backbone, pairs, "masked-lm", "masked-lm", loss=loss, steps={"steps": 1})
    train(settings, tmp_path, RunContext(device="cpu"))
    (line,) = lines(tmp_path)
    assert (line["regulariser"] > 0) is (regulariser != "none")
    assert (line["query_regulariser"] > 0) is (query_regulariser != "none")
    expected = line["loss_infonce"] + 0.5 * line["regulariser"] + 0.25 * line["query_regulariser"]
    assert line["loss"] == pytest.approx(expected, rel=1e-5)


def test_regularised_queries_become_sparser_than_documents(backbone: Path, pairs: Path, tmp_path: Path) -> None:
    loss = {"document_lambda": 0.0, "query_regulariser": "flops", "query_lambda": 3.0, "ramp": 0.0}
    settings = config(
        backbone, pairs, "masked-lm", "masked-lm", model={"separate": True}, loss=loss, steps={"steps": 12}
    )
    train(settings, tmp_path, RunContext(device="cpu"))
    first, *_, last = lines(tmp_path)
    assert last["query_terms"] < 0.7 * first["query_terms"]
    assert last["document_terms"] > 0.8 * first["document_terms"]


def test_idf_flops_is_for_documents_alone() -> None:
    content = {
        "model": {"backbone": "x"}, "data": [{"path": "p"}],
        "loss": {"infonce": 1.0, "query_regulariser": "idf-flops"},
    }  # fmt: skip
    with pytest.raises(SettingsError, match=r"\[loss\] query_regulariser = 'idf-flops' is for documents"):
        parse_config(content)


def test_the_largest_weights_alone_count_in_scores_while_regularisers_see_all(
    backbone: Path, pairs: Path, tmp_path: Path
) -> None:
    top = {"document_top_k": [8, 3], "query_top_k": 2}
    whole = train(config(backbone, pairs, "masked-lm", "masked-lm", loss={}), tmp_path / "a", RunContext(device="cpu"))
    cut = train(config(backbone, pairs, "masked-lm", "masked-lm", loss=top), tmp_path / "b", RunContext(device="cpu"))
    assert whole.pairs == cut.pairs
    first, second = lines(tmp_path / "a")[0], lines(tmp_path / "b")[0]
    assert second["loss_infonce"] != pytest.approx(first["loss_infonce"], rel=1e-3)
    assert second["regulariser"] == pytest.approx(first["regulariser"], rel=1e-5)


@pytest.mark.parametrize("method", [{}, {"queries": None, "documents": None, "method": "splade-max"}])
def test_in_reading_each_side_keeps_its_own_number_of_terms(
    backbone: Path, pairs: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    model = {"max_active_dims": 7, "query_max_active_dims": 3, **method}
    report = train(config(backbone, pairs, "masked-lm", "masked-lm", model=model), tmp_path, RunContext(device="cpu"))
    encoder: Any = load_encoder(str(report.model), dtype="float32", device="cpu")
    assert np.diff(encoder.encode_documents(TEXTS).indptr).max() == 7
    assert np.diff(encoder.encode_queries(TEXTS).indptr).max() == 3
