"""Decoders: PROSPER against its equations, and adapters (LoRA) that are trained here and open with peft."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders import CheckpointError, load_encoder
from encoders.checkpoints.saving import save_encoder
from encoders.presets import SIDES
from encoders.settings import Family, SideSettings
from encoders.training import TrainableEncoder, untrained_sides
from encoders.training.batch import Batch
from encoders.training.objective import Objective
from encoders.training.settings import LossSettings
from lsr.errors import SettingsError
from lsr.training.config import TrainingConfig, parse_config
from lsr.training.context import RunContext
from lsr.training.run import train
from tests.conftest import PIECES, save_language_model, save_tokenizer

MakeCheckpoint = Callable[..., Path]

TEXTS = ["sparse retrieval of the heart", "", "the heart the heart", "learned " * 40, "[SEP] attack é", "vitamin c"]
WORDS = ["heart", "attack", "vitamin", "sparse", "search", "learn"]
QWEN = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 32, "max_position_embeddings": 128,
}  # fmt: skip

# peft uses a name of transformers that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of a few thousand parameters, whose vocabulary is larger than the tokenizer's."""
    import transformers

    folder = tmp_path_factory.mktemp("qwen")
    torch.manual_seed(2)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(vocab_size=len(PIECES) + 9, **QWEN))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def llama(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint("llama")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"query": f"the {WORDS[i % 6]} {i}", "text": f"{WORDS[(i + 1) % 6]} of {i + 40} and {i % 7}"} for i in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(backbone: Path, pairs: Path, **changes: Any) -> TrainingConfig:
    content: dict[str, Any] = {
        "model": {"backbone": str(backbone), "max_length": 16, "queries": "prosper", "documents": "prosper"},
        "data": [{"path": str(pairs)}],
        "negatives": {"bm25": 4, "per_query": 2},
        "loss": {
            "infonce": 1.0, "document_lambda": 1e-3, "query_regulariser": "flops", "query_lambda": 5e-3,
            "document_top_k": [64, 32], "query_top_k": [32, 16],
        },
        "steps": {
            "steps": 6, "batch_size": 4, "log_every": 1, "learning_rate": 3e-3, "warm_up": 0.0, "checkpoint_every": 2,
        },
    }  # fmt: skip
    for table, values in changes.items():
        content[table] = {**content.get(table, {}), **values}
    return parse_config(content)


def prosper(text: str, folder: Path, residual: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return W and w of a text, by equations 5 to 9 of the paper, in float64 with transformers alone."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).double().eval()
    ids = tokenizer(text, truncation=True)["input_ids"]
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    logits, hidden = output.logits[0, -1].numpy(), output.hidden_states[-1][0, -1].numpy()
    base = np.log1p(np.maximum(logits, 0))
    weight, bias = residual["weight"].double().numpy(), residual["bias"].double().numpy()
    reinforcing = weight @ np.log1p(np.maximum(hidden, 0)) + bias
    literal = np.zeros(len(base))
    literal[[token for token in ids if token not in (0, 2, 3, 4)]] = 1.0
    return base + literal * (reinforcing.max() - reinforcing), base


@pytest.mark.parametrize("name", ["qwen", "llama"])
def test_prosper_is_its_equations(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    folder: Path = request.getfixturevalue(name)
    torch.manual_seed(5)
    kind = SIDES["prosper"]
    assert kind.queries is not None
    assert kind.documents is not None
    made = untrained_sides(kind.queries, kind.documents, folder, device="cpu")
    save_encoder(made, tmp_path)
    encoder: Any = load_encoder(str(tmp_path), dtype="float32", device="cpu")
    assert encoder.queries.body is encoder.documents.body
    residual = load_file(tmp_path / "documents" / "literal_residual.safetensors")
    expected = [prosper(text, folder, residual) for text in TEXTS]
    whole = np.stack([one for one, _ in expected])
    found = encoder.encode_documents(TEXTS).toarray()
    assert np.abs(found - whole).max() < 1e-5
    queries = encoder.encode_queries(TEXTS).toarray()
    assert np.abs(queries - whole / np.linalg.norm(whole, axis=1, keepdims=True)).max() < 1e-5
    weights, base = encoder.documents.weights_and_base(encoder.documents.ids(TEXTS))
    assert np.abs(weights.numpy() - whole).max() < 1e-5
    assert np.abs(base.numpy() - np.stack([one for _, one in expected])).max() < 1e-5
    # The text's own terms gain, but for the one that the residual layer puts highest of all; the others do not.
    gained = set(torch.nonzero((weights - base)[0])[:, 0].tolist())
    own = set(encoder.documents.ids(TEXTS[:1])[0]) - {2, 3}
    assert len(own) - 1 <= len(gained)
    assert gained <= own


def test_prosper_gives_a_text_without_tokens_no_weights(tmp_path: Path) -> None:
    """As of Qwen's tokenizers, which add no special tokens."""
    from tokenizers import Tokenizer

    save_language_model(tmp_path, "llama")
    save_tokenizer(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    content = json.loads(tokenizer.to_str())
    content["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    kind = SIDES["prosper"]
    assert kind.queries is not None
    assert kind.documents is not None
    encoder = untrained_sides(kind.queries, kind.documents, tmp_path, device="cpu")
    together = encoder.encode_documents(["", "heart attack", "", "vitamin"]).toarray()
    assert not together[[0, 2]].any()
    assert encoder.encode_documents(["", ""]).nnz == 0
    for row, text in ((1, "heart attack"), (3, "vitamin")):
        assert np.abs(encoder.encode_documents([text]).toarray()[0] - together[row]).max() < 1e-5
        assert together[row].any()


def test_prosper_trains_within_windows_on_queries_of_length_1_and_regularises_the_base_weights(qwen: Path) -> None:
    torch.manual_seed(5)
    kind = SIDES["prosper"]
    assert kind.queries is not None
    assert kind.documents is not None
    model = TrainableEncoder(untrained_sides(kind.queries, kind.documents, qwen, device="cpu"))
    settings = LossSettings(
        infonce=1.0, document_lambda=0.5, query_regulariser="flops", query_lambda=0.25,  # type: ignore[arg-type]
        document_top_k=(40, 10), query_top_k=(20, 5),
    )  # fmt: skip
    batch = Batch(
        ["the heart", "vitamin c"], ["heart attack", "vitamin", "search"], np.array([[0, 2], [1, 2]]),
        None, np.zeros((2, 3), dtype=np.bool_),
    )  # fmt: skip

    def largest(rows: np.ndarray, k: int) -> np.ndarray:
        return np.where(rows >= np.sort(rows, axis=1)[:, -k, None], rows, 0.0)

    side: Any = model.encoder.documents
    with torch.no_grad():
        (queries, base_q), (documents, base_d) = (
            [one.numpy() for one in side.weights_and_base(side.ids(texts))]
            for texts in (batch.queries, batch.documents)
        )
    for progress, (kq, kd) in ((0.0, (20, 40)), (0.5, (5, 10))):
        cut = largest(queries, kq)
        scores = cut / np.linalg.norm(cut, axis=1, keepdims=True) @ largest(documents, kd).T
        ranking = np.mean([-np.log(np.exp(row[i]) / np.exp(row).sum()) for i, row in enumerate(scores)])
        expected = ranking + 0.5 * (base_d.mean(axis=0) ** 2).sum() + 0.25 * (base_q.mean(axis=0) ** 2).sum()
        loss, _ = Objective(settings)(model, batch, 1.0, False, progress)
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


def test_a_run_with_prosper_learns_and_its_model_is_read(qwen: Path, pairs: Path, tmp_path: Path) -> None:
    report = train(config(qwen, pairs, steps={"steps": 30}), tmp_path, RunContext(device="cpu"))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [one["loss_infonce"] for one in log]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    encoder: Any = load_encoder(str(report.model), dtype="float32", device="cpu")
    with torch.no_grad():
        trainable = TrainableEncoder(encoder).eval()
        found = encoder.encode_documents(TEXTS).toarray()
        assert np.abs(found - trainable.documents(TEXTS).numpy()).max() < 1e-5


def test_a_missing_or_misshapen_residual_is_an_error(qwen: Path, tmp_path: Path) -> None:
    kind = SIDES["prosper"]
    assert kind.queries is not None
    assert kind.documents is not None
    save_encoder(untrained_sides(kind.queries, kind.documents, qwen, device="cpu"), tmp_path)
    file = tmp_path / "documents" / "literal_residual.safetensors"
    good = load_file(file)
    save_file({"weight": good["weight"][:-1].contiguous(), "bias": good["bias"]}, file)
    with pytest.raises(CheckpointError, match=r"literal_residual.safetensors: found .*weight"):
        load_encoder(str(tmp_path))
    file.unlink()
    with pytest.raises(CheckpointError, match=r"literal_residual.safetensors is missing"):
        load_encoder(str(tmp_path))


ADAPTED = [
    ("echo", "echo", "llama", {}),
    ("echo", "echo", "qwen", {"lora_targets": ["q_proj", "v_proj"]}),
    ("prosper", "prosper", "qwen", {}),
    ("bidirectional", "bidirectional", "llama", {"lora_dropout": 0.1}),
    ("mlp", "echo", "llama", {}),
    ("idf", "masked-lm", "bert", {"lora_targets": ["query", "value"]}),
    ("epic", "masked-lm", "bert", {}),
]


@pytest.mark.parametrize(("queries", "documents", "architecture", "lora"), ADAPTED)
def test_a_model_trained_with_lora_opens_with_peft_and_here_as_it_was_trained(
    request: pytest.FixtureRequest,
    make_checkpoint: MakeCheckpoint,
    pairs: Path,
    tmp_path: Path,
    queries: str,
    documents: str,
    architecture: str,
    lora: dict[str, Any],
) -> None:
    backbone = make_checkpoint() if architecture == "bert" else request.getfixturevalue(architecture)
    before = load_file(backbone / "model.safetensors")
    model = {"queries": queries, "documents": documents, "lora_rank": 4, **lora}
    settings = config(backbone, pairs, model=model)
    kept: dict[str, Any] = {}

    def evaluate(encoder: str, *_: Any) -> dict[str, float]:
        kept["evaluated"] = load_encoder(encoder, dtype="float32", device="cpu").encode_documents(TEXTS)
        return {"nDCG@10": len(kept)}

    report = train(settings, tmp_path, RunContext(device="cpu", evaluate=evaluate))
    folder = report.model / "documents"
    assert not list(folder.glob("model*"))
    assert not (report.model / "modules.json").exists()  # sentence-transformers is not promised to read it
    assert (folder / "adapter_model.safetensors").stat().st_size < (backbone / "model.safetensors").stat().st_size / 2
    after = load_file(backbone / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    # Only adapters and new layers are in the checkpoints.
    (checkpoint,) = sorted((tmp_path / "checkpoints").glob("step-00000006"))
    names = set(load_file(checkpoint / "parameters.safetensors"))
    assert any("lora_A" in name for name in names)
    assert not [name for name in names if "embed" in name and "lora_" not in name]

    encoder: Any = load_encoder(str(report.model), dtype="float32", device="cpu")
    of_documents = encoder.encode_documents(TEXTS)
    # The adapters have learned something.
    untouched = untrained_like(encoder, backbone, documents)
    assert abs(of_documents - untouched).max() > 1e-3
    # peft reads it, and computes the same logits as the merged model here.
    assert_peft_agrees(folder, backbone, encoder)
    # Merged and saved as a whole model it is the same.
    save_encoder(encoder, tmp_path / "whole")
    whole: Any = load_encoder(str(tmp_path / "whole"), dtype="float32", device="cpu")
    assert abs(whole.encode_documents(TEXTS) - of_documents).max() < 1e-5
    assert abs(whole.encode_queries(TEXTS) - encoder.encode_queries(TEXTS)).max() < 1e-5


def untrained_like(encoder: Any, backbone: Path, documents: str) -> Any:
    settings: SideSettings = encoder.documents.settings
    if settings.family is Family.PROSPER:
        side = encoder.documents
        plain = untrained_sides(settings, settings, backbone, device="cpu")
        plain.documents.residual = side.residual  # type: ignore[attr-defined]
        return plain.encode_documents(TEXTS)
    return untrained_sides(settings, settings, backbone, device="cpu").encode_documents(TEXTS)


def assert_peft_agrees(folder: Path, backbone: Path, encoder: Any) -> None:
    import transformers
    from peft import PeftModel

    masked = "MaskedLM" in json.loads((backbone / "config.json").read_text())["architectures"][0]
    auto = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    theirs = PeftModel.from_pretrained(auto.from_pretrained(backbone), folder).eval()
    side = encoder.documents
    ids = side.tokenization.ids(TEXTS[:1])
    with torch.inference_mode():
        logits = theirs(torch.tensor(ids)).logits[0]
    if side.settings.family is Family.BIDIRECTIONAL:
        return  # peft's own forward pass is causal
    ours = side.body(ids) @ side.projection.weight.T
    ours = ours if side.projection.bias is None else ours + side.projection.bias
    assert (ours - logits).abs().max() < 1e-5


def test_the_forward_pass_of_training_is_that_of_the_loaded_adapter(llama: Path, tmp_path: Path) -> None:
    from encoders.training.lora import LoraSettings, add_adapters

    echo = SideSettings(family=Family.ECHO)
    encoder = untrained_sides(echo, echo, llama, device="cpu")
    add_adapters(encoder, LoraSettings(rank=4, alpha=8), seed=1)
    model = TrainableEncoder(encoder)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(4):
        scores = model.queries(["heart", "vitamin c"]) @ model.documents(["heart attack", "vitamin"]).T
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        expected = model.eval().documents(TEXTS).numpy()
    save_encoder(model.finish(), tmp_path)
    loaded = load_encoder(str(tmp_path), dtype="float32", device="cpu")
    assert np.abs(loaded.encode_documents(TEXTS).toarray() - expected).max() < 1e-5
    plain = load_encoder(str(llama), dtype="float32", device="cpu", family="echo")
    assert np.abs(plain.encode_documents(TEXTS).toarray() - expected).max() > 1e-2
    # Without our own settings the folder is an adapter like any other.
    alone = load_encoder(str(tmp_path / "documents"), dtype="float32", device="cpu", family="echo")
    assert np.abs(alone.encode_documents(TEXTS).toarray() - expected).max() < 1e-5


def test_a_run_with_lora_that_was_killed_continues_to_the_same_adapter(
    llama: Path, pairs: Path, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    model = {"queries": "echo", "documents": "echo", "lora_rank": 4, "lora_dropout": 0.1}
    settings = config(llama, pairs, model=model)
    whole = train(settings, tmp_path / "whole", RunContext(device="cpu"))

    def kill(phase: str, done: int, total: int | None) -> None:
        if phase == "steps" and done == 3:
            raise Killed

    with pytest.raises(Killed):
        train(settings, tmp_path / "killed", RunContext(device="cpu", progress=kill))
    resumed = train(settings, tmp_path / "killed", RunContext(device="cpu"))
    first, second = (load_file(one.model / "documents" / "adapter_model.safetensors") for one in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_alpha": 8}, r"\[model\] lora_alpha, lora_dropout and lora_targets need lora_rank"),
        ({"lora_rank": 4, "queries": "idf", "documents": "literal"}, r"\[model\] lora_rank needs a backbone, and"),
        ({"lora_rank": 0}, r"\[model\] lora_rank = 0 is out of range"),
    ],
)
def test_settings_of_lora_that_do_not_fit_are_errors(llama: Path, pairs: Path, changes: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        config(llama, pairs, model=changes)


def test_a_target_that_no_layer_has_is_an_error(llama: Path, pairs: Path, tmp_path: Path) -> None:
    settings = config(llama, pairs, model={"lora_rank": 4, "lora_targets": ["query"]})
    with pytest.raises(SettingsError, match=r"\[model\] lora_rank, lora_targets: .*query"):
        train(settings, tmp_path, RunContext(device="cpu"))
