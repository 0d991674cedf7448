"""Looking queries up, searching and serving need neither torch nor transformers; what needs them says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders import CheckpointError, DeviceUnavailable, load_encoder
from encoders.learned import LearnedEncoder
from encoders.sides.deferred import DeferredSide
from encoders.text.analysis import EnglishAnalysis, terms_of
from lsr.collection import Collection
from lsr.documents import Document
from lsr.vectors import VectorConfig

MakeCheckpoint = Callable[..., Path]
TEXT = "The heart attacks of 1999"
# The last line of a program: which of the two packages it imported.
LOADED = "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'transformers'}))"
WITHOUT = "sys.modules |= {'torch': None, 'transformers': None}"  # importing them fails as if they were not installed


def run(program: str, *arguments: object, without: bool = False) -> list[str]:
    """Run a program in its own process and return its lines; `without` hides torch and transformers from it."""
    lines = ["import sys", *([WITHOUT] if without else []), program, *([] if without else [LOADED])]
    line = [sys.executable, "-c", "\n".join(lines), *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"LSR_DEBUG": "0"}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections") / "texts"
    with Collection.create(folder, vectors={"default": VectorConfig("lsr-mini")}) as made:
        made.write([Document("a", text="Heart attacks and statins."), Document("b", text="Craters on the moon.")])
        made.seal()
    return folder


LOOK_UP = """
from encoders import load_encoder
encoder = load_encoder(sys.argv[1])
row = encoder.encode_queries([sys.argv[2]])
print(encoder.fingerprint, row.indices.tolist(), [float(weight) for weight in row.data])
print([(word.start, word.end, word.term_ids) for word in encoder.words(sys.argv[2])], len(encoder.vocabulary))
"""


def expected(encoder: Any) -> list[str]:
    row = encoder.encode_queries([TEXT])
    words = [(word.start, word.end, word.term_ids) for word in encoder.words(TEXT)]
    return [
        f"{encoder.fingerprint} {row.indices.tolist()} {[float(weight) for weight in row.data]}",
        f"{words} {len(encoder.vocabulary)}",
    ]


@pytest.mark.parametrize("without", [False, True])
@pytest.mark.parametrize("name", ["lsr-mini", "lsr-nano"])
def test_a_shipped_models_queries_are_looked_up(name: str, without: bool) -> None:
    lines = run(LOOK_UP, name, TEXT, without=without)
    assert lines[2:] == ([] if without else ["[]"])
    encoder = load_encoder(name, device="cpu", dtype="float32")
    encoder.prepare_documents()  # with its model, it is the same encoder
    assert lines[:2] == expected(encoder)


def sentence_transformers_router(folder: Path, checkpoint: Path) -> dict[str, Any]:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer

    transformer = Transformer(str(checkpoint), transformer_task="fill-mask")
    static = SparseStaticEmbedding(transformer.tokenizer, weight=torch.rand(len(transformer.tokenizer.get_vocab())))
    router = Router.for_query_document(query_modules=[static], document_modules=[transformer, SpladePooling()])
    SparseEncoder(modules=[router]).save(str(folder))
    return {"name": str(folder)}


def plain_with_idf(folder: Path, checkpoint: Path) -> dict[str, Any]:
    tokens = json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"]
    (checkpoint / "idf.json").write_text(json.dumps({token: 0.5 + number for token, number in tokens.items()}))
    return {"name": str(checkpoint), "query_family": "static"}


def plain_binary(folder: Path, checkpoint: Path) -> dict[str, Any]:
    return {"name": str(checkpoint), "query_family": "static"}


def term_weights(folder: Path, checkpoint: Path) -> dict[str, Any]:
    weights = load_file(checkpoint / "model.safetensors")
    weights |= {"tok_proj.weight": torch.ones(1, 32), "tok_proj.bias": torch.ones(1)}
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    return {"name": str(checkpoint), "query_family": "static", "query_pooling": "max"}


def two_repositories(folder: Path, checkpoint: Path) -> dict[str, Any]:
    """A document model whose queries are looked up in another folder's table, like OpenSearch's idf.json."""
    given = plain_with_idf(folder, checkpoint)
    return given | {"query_weights": str(checkpoint / "idf.json")}


LAYOUTS = [sentence_transformers_router, plain_with_idf, plain_binary, term_weights, two_repositories]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_with_a_static_query_side(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, layout: Callable[[Path, Path], dict[str, Any]]
) -> None:
    settings = layout(tmp_path, make_checkpoint())
    name = settings.pop("name")
    program = LOOK_UP.replace("load_encoder(sys.argv[1])", f"load_encoder(sys.argv[1], **{settings!r})")
    lines = run(program, name, TEXT)
    assert lines[2:] == ["[]"]
    encoder = load_encoder(name, dtype="float32", **settings)
    assert isinstance(encoder, LearnedEncoder)
    assert isinstance(encoder._documents, DeferredSide)
    assert encoder.dtype is None
    assert encoder.encode_documents([TEXT]).nnz > 0
    assert encoder.dtype == "float32"
    assert lines[:2] == expected(encoder)


def test_a_search_on_the_command_line_imports_no_model(collection: Path) -> None:
    program = "from lsr.cli.running import run\nassert run(['search', sys.argv[1], 'heart attack', '--explain']) == 0"
    lines = run(program, collection)
    assert lines[0].split()[2] == "a"
    assert lines[-1] == "[]"


DENSE = """
from lsr.collection import Collection
from lsr.documents import DenseInput, Document, SparseByToken
from lsr.vectors import VectorConfig
vectors = {"default": VectorConfig("lsr-mini"), "meaning": VectorConfig("lsr-mini", dense=True)}
with Collection.create(sys.argv[1], vectors=vectors) as made:
    given = {"default": SparseByToken({"heart": 1.0}), "meaning": DenseInput((1.0,) * 384)}
    made.write([Document("a", text="Heart attacks", vectors=given)])
    made.seal()
with Collection.open(sys.argv[1]) as opened:
    print(opened.info().vectors["meaning"].dimensions, [hit.id for hit in opened.search("heart").hits])
"""


@pytest.mark.parametrize("without", [False, True])
def test_ready_made_vectors_of_lsr_mini_are_written_without_a_model(tmp_path: Path, without: bool) -> None:
    lines = run(DENSE, tmp_path / "c", without=without)
    assert lines == ["384 ['a']", *([] if without else ["[]"])]


SERVE = """
import json, urllib.request
from lsr.store import CollectionStore
from service.server import running
with CollectionStore(sys.argv[1]) as store, running(store) as url:
    body = {"query": {"text": "heart attack"}, "k": 1, "highlight": True}
    request = urllib.request.Request(
        url + "/v1/collections/texts/search", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    print(json.load(urllib.request.urlopen(request))["hits"][0]["id"])
"""


@pytest.mark.slow
def test_a_service_starts_and_answers_without_a_model(collection: Path) -> None:
    assert run(SERVE, collection.parent) == ["a", "[]"]


COMMAND = """
from lsr.cli.running import run
print(run(sys.argv[1:]))
"""
MESSAGE = (
    "models need packages that are not installed (torch, transformers): pip install 'lsr[models]', or `make models`"
)


def command(*arguments: object) -> tuple[int, str]:
    """Run `lsr` without torch and transformers; return its exit code and what it printed, stderr first."""
    line = [sys.executable, "-c", f"import sys\n{WITHOUT}\n{COMMAND}", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=200)
    *printed, code = done.stdout.splitlines()
    return int(code), "\n".join([done.stderr, *printed])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"id": "a", "text": "Heart attacks and statins."}\n')
    return file


@pytest.mark.parametrize(("name", "target"), [("index", "made"), ("encode", "made.jsonl")])
def test_encoding_without_the_packages_names_the_command_and_leaves_nothing(
    corpus: Path, tmp_path: Path, name: str, target: str
) -> None:
    code, printed = command(name, corpus, "--out", tmp_path / target, "--encoder", "lsr-mini")
    assert code == 1
    assert MESSAGE in printed
    assert not (tmp_path / target).exists()
    assert command(name, corpus, "--out", tmp_path / target, "--encoder", "bm25")[0] == 0


def test_an_existing_folder_stays_when_an_encoder_fails(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    assert command("index", corpus, "--out", tmp_path / "made", "--encoder", "lsr-mini")[0] == 1
    assert list((tmp_path / "made").iterdir()) == []


def test_training_without_the_packages_names_the_command(corpus: Path, tmp_path: Path) -> None:
    code, printed = command("train", "--corpus", corpus, "--out", tmp_path / "run")
    assert code == 1
    assert MESSAGE in printed


def test_doctor_and_models_work_without_the_packages(collection: Path) -> None:
    code, printed = command("doctor", collection, "--json")
    details = {finding["name"]: finding["detail"] for finding in json.loads(printed.splitlines()[-1])}
    assert code == 0, details
    assert "only models need it: pip install 'lsr[models]'" in details["torch"]
    assert "device" not in details
    assert command("models")[0] == 0


WRITE = """
import json, urllib.request, urllib.error
from lsr.store import CollectionStore
from service.server import running
def ask(method, path, body):
    request = urllib.request.Request(url + "/v1/collections" + path, json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return json.load(error)
with CollectionStore(sys.argv[1]) as store, running(store) as url:
    ask("PUT", "/c", {"encoder": "lsr-mini"})
    refused = ask("POST", "/c/documents", {"documents": [{"id": "a", "text": "heart"}]})
    print(refused["status"], refused["type"], refused["detail"])
    given = {"default": {"sparse": {"heart": 1.5}}, "meaning": {"dense": [1.0] + 383 * [0.0]}}
    ask("POST", "/c/documents", {"documents": [{"id": "b", "text": "heart", "vectors": given}]})
    print([hit["id"] for hit in ask("POST", "/c/search", {"query": {"text": "heart"}})["hits"]])
"""


def test_a_service_without_the_packages_accepts_ready_made_vectors_only(tmp_path: Path) -> None:
    refused, found = run(WRITE, tmp_path, without=True)
    assert refused.startswith("501 /problems/models-missing")
    assert MESSAGE in refused
    assert found == "['b']"


@pytest.mark.slow
def test_the_demo_works_without_the_packages(tmp_path: Path) -> None:
    code, printed = command("demo", "--smoke", "--port", "0", "--out", tmp_path)
    assert code == 0, printed
    assert printed.count("ok  ") == 3


def test_a_document_model_that_cannot_be_read_is_reported_when_it_is_needed(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("cls.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = load_encoder(str(folder), query_family="static")
    assert encoder.encode_queries(["heart"]).nnz == 1
    for _ in range(2):  # and again: an error leaves nothing half built
        with pytest.raises(CheckpointError, match=str(folder)):
            encoder.encode_documents(["heart"])
    with pytest.raises(CheckpointError, match=str(folder)):
        encoder.prepare_documents()


def test_a_vocabulary_that_config_and_tokenizer_disagree_about_is_refused_at_once(
    make_checkpoint: MakeCheckpoint,
) -> None:
    folder = make_checkpoint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    with pytest.raises(CheckpointError, match=r"do not fit: 100 tokens, but the model has 50 terms"):
        load_encoder(str(folder), query_family="static")


def test_a_device_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:99"):
        load_encoder("lsr-mini", device="cuda:99")


def test_a_vocabularys_terms_are_those_of_its_words(make_checkpoint: MakeCheckpoint) -> None:
    analysis = EnglishAnalysis()
    words = [
        token
        for token in load_encoder("lsr-mini").vocabulary.tokens(np.arange(30_522))
        if token.isascii() and token.isalpha() and token.islower()
    ]
    assert len(words) > 20_000
    assert terms_of(words) == [(analysis.terms(word) or [""])[0] for word in words]
