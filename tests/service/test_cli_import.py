"""lsr import and lsr export with servers: what goes out comes back, and what went wrong can be continued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsr.cli.running import run
from lsr.collection import Collection
from lsr.documents import SparseByIndex
from lsr.exchange.servers import json_client
from tests.service.import_servers import Qdrant, SearchEngine, Server

# Weights that float16 does not have; a document without a term; a foreign script; a token with a dot.
VECTORS: list[dict[str, Any]] = [
    {
        "id": "d1",
        "title": "T",
        "text": "x",
        "metadata": {"year": 2020, "tags": ["a"]},
        "sparse": {"roll": 0.1, "élan": 2.7},
    },
    {"id": "d2", "text": 'quo"te\n', "parent": "p", "sparse": {"roll": 1e-3, "egg": 3.3333333}},
    {"id": "ü 3", "sparse": {"a.b": 7.25}},
    {"id": "none", "text": "no term", "sparse": {}},
    *({"id": f"n{n}", "text": f"text {n}", "sparse": {f"t{n % 7}": n / 7, "roll": 0.2}} for n in range(1, 60)),
]
NUMBERED = [
    {**document, "sparse": {str(17 * at): weight for at, weight in enumerate(document["sparse"].values())}}
    for document in VECTORS
]


def made(tmp_path: Path, documents: list[dict[str, Any]], name: str) -> Path:
    lines = tmp_path / f"{name}.jsonl"
    lines.write_text("\n".join(map(json.dumps, documents)))
    assert run(["import", str(lines), "--out", str(tmp_path / name)]) == 0
    return tmp_path / name


@pytest.fixture
def by_token(tmp_path: Path) -> Path:
    return made(tmp_path, VECTORS, "tokens")


@pytest.fixture
def by_number(tmp_path: Path) -> Path:
    return made(tmp_path, NUMBERED, "numbers")


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(json_client.time, "sleep", waits.append)
    return waits


def contents(path: Path) -> dict[str, Any]:
    """Each document's fields, and its vector by token, as float32."""
    with Collection.open(path) as collection:
        return {
            document.id: (
                document.title,
                document.text,
                document.parent,
                dict(document.metadata),
                dict(zip(collection.tokens(ids), weights.astype(np.float32).tolist(), strict=True)),
            )
            for document, ids, weights in collection.scan()
        }


@pytest.fixture(params=["opensearch 2.19.6", "opensearch 3.3.0", "elasticsearch 9.2.1"])
def engine(request: pytest.FixtureRequest) -> Iterator[SearchEngine]:
    server = SearchEngine(*request.param.split())
    with server.running():
        yield server


@pytest.fixture
def qdrant() -> Iterator[Qdrant]:
    server = Qdrant()
    with server.running():
        yield server


def source(server: Server, name: str = "books") -> str:
    kind = server.distribution if isinstance(server, SearchEngine) else "qdrant"
    return f"{kind}:{server.url}/{name}"


def test_weights_are_the_float32_of_the_file(by_token: Path) -> None:
    found = contents(by_token)
    assert found["d1"] == (
        "T",
        "x",
        None,
        {"year": 2020, "tags": ["a"]},
        {"roll": np.float32(0.1), "élan": np.float32(2.7)},
    )
    assert found["none"][-1] == {}


def test_a_collection_goes_through_a_search_engine_and_comes_back(
    engine: SearchEngine, by_token: Path, tmp_path: Path
) -> None:
    documents = by_token
    if engine.distribution == "elasticsearch":  # which refuses tokens with a dot
        documents = made(tmp_path, [one for one in VECTORS if one["id"] != "ü 3"], "undotted")
    assert run(["export", str(documents), "--out", source(engine)]) == 0
    assert run(["import", source(engine), "--out", str(tmp_path / "again"), "--batch", "7"]) == 0
    assert contents(tmp_path / "again") == contents(documents)
    assert engine.pits == {}
    keys = {next(iter(body["sort"][0])) for body in engine.searches}
    assert keys == ({"_id"} if engine.version == "2.19.6" else {"_shard_doc"})


def test_a_document_that_a_search_engine_refuses_is_named(by_token: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with SearchEngine("elasticsearch", "9.2.1").running() as server:
        assert run(["export", str(by_token), "--out", source(server)]) == 1
    assert "document 'ü 3': failed to parse: do not support dots" in capfd.readouterr().err


def test_a_collection_goes_through_qdrant_by_a_term_table(qdrant: Qdrant, by_token: Path, tmp_path: Path) -> None:
    table = str(tmp_path / "terms.jsonl")
    assert run(["export", str(by_token), "--out", source(qdrant), "--terms", table]) == 0
    assert run(["import", source(qdrant), "--out", str(tmp_path / "again"), "--batch", "7", "--terms", table]) == 0
    assert contents(tmp_path / "again") == contents(by_token)


def test_numbers_stay_numbers(qdrant: Qdrant, by_number: Path, tmp_path: Path) -> None:
    assert run(["export", str(by_number), "--out", source(qdrant)]) == 0
    sent = {
        point["payload"]["id"]: point["vector"]["default"] for point in qdrant.collections["books"]["points"].values()
    }
    assert sent["d2"] == {"indices": [0, 17], "values": [np.float32(1e-3), np.float32(3.3333333)]}
    assert run(["import", source(qdrant), "--out", str(tmp_path / "again")]) == 0
    assert contents(tmp_path / "again") == contents(by_number)


def test_own_numbers_are_said_to_be_so(qdrant: Qdrant, by_token: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(by_token), "--out", source(qdrant)]) == 0
    assert "the term numbers are this collection's own" in capfd.readouterr().err


def test_an_existing_collection_is_not_written_to_unless_asked(
    qdrant: Qdrant, by_number: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(by_number), "--out", source(qdrant)]) == 0
    assert run(["export", str(by_number), "--out", source(qdrant)]) == 2
    assert "--update" in capfd.readouterr().err
    assert run(["export", str(by_number), "--out", source(qdrant), "--update"]) == 0
    assert len(qdrant.collections["books"]["points"]) == len(NUMBERED)


def foreign(qdrant: Qdrant) -> None:
    """A collection that another program filled."""
    params = {"vectors": {"size": 2, "distance": "Cosine"}, "sparse_vectors": {"splade": {}}}
    points: list[dict[str, Any]] = [
        {
            "id": n,
            "vector": {"dense": [1.0, n], "splade": {"indices": [4294967294, n], "values": [0.5, 0.1]}},
            "payload": {"id": "not the id", "headline": f"h{n}", "year": 2000 + n, "nested": {"a": [1, None]}},
        }
        for n in range(5)
    ]
    points.append({"id": "6f1f0c2b-9a77-5c7e-9d5e-8a1b7a0e4c1f", "vector": {}, "payload": None})
    points.append({"id": 7, "vector": {"splade": {"indices": [1, 1], "values": [1.0, 2.0]}}, "payload": {}})
    qdrant.collections["books"] = {"params": params, "points": {point["id"]: point for point in points}}


def test_a_foreign_collection_keeps_ids_dense_vectors_and_payload(
    qdrant: Qdrant, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    foreign(qdrant)
    line = ["import", source(qdrant), "--out", str(tmp_path / "c"), "--text", "headline", "--schema", '{"year":"int"}']
    assert run(line) == 4
    said = capfd.readouterr().err
    assert f"{source(qdrant)}: document '7': splade.indices[1]: the index 1 occurs twice" in said
    with Collection.open(tmp_path / "c") as collection:
        found = {document.id: document for document, _, _ in collection.scan(dense=["dense"])}
        assert set(found) == {"0", "1", "2", "3", "4", "6f1f0c2b-9a77-5c7e-9d5e-8a1b7a0e4c1f"}
        assert found["3"].text == "h3"
        assert found["3"].metadata == {"id": "not the id", "year": 2003, "nested": {"a": [1, None]}}
        assert np.allclose(found["1"].vectors["dense"].values, np.array([1, 1]) / 2**0.5, atol=0.005)  # type: ignore[union-attr]
        hits = collection.search(SparseByIndex((3,), (1.0,)), filter={"year": 2003}).hits
        assert [hit.id for hit in hits] == ["3"]
    assert not (tmp_path / "c.import").exists()


def test_documents_that_the_schema_refuses_are_named_by_id(
    qdrant: Qdrant, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    foreign(qdrant)
    assert run(["import", source(qdrant), "--out", str(tmp_path / "c"), "--schema", '{"headline":"int"}']) == 4
    assert f"{source(qdrant)}: document '3': metadata.headline" in capfd.readouterr().err


def test_an_import_that_was_stopped_continues_with_the_next_page(
    qdrant: Qdrant, by_number: Path, tmp_path: Path, no_waits: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(by_number), "--out", source(qdrant)]) == 0
    line = ["import", source(qdrant), "--out", str(tmp_path / "c"), "--batch", "10"]
    scrolls = 0

    def stop(method: str, path: str, number: int) -> tuple[int, dict[str, str]] | None:
        nonlocal scrolls
        scrolls += path.endswith("/scroll")
        return (500, {}) if scrolls > 3 and path.endswith("/scroll") else None

    qdrant.fault = stop
    assert run(line) == 1
    assert f"POST {qdrant.url}/collections/books/points/scroll: 500 injected" in capfd.readouterr().err
    with (tmp_path / "c.import" / "documents.jsonl").open("a") as file:
        file.write('{"id":"half a pa')  # a kill in the middle of a page
    assert run(line) == 2  # without --resume
    assert "--resume" in capfd.readouterr().err
    qdrant.fault = lambda method, path, number: None
    before = len([path for _, path, _ in qdrant.requests if path.endswith("/scroll")])
    assert run([*line, "--resume"]) == 0
    assert "30 documents were read before" in capfd.readouterr().err
    after = len([path for _, path, _ in qdrant.requests if path.endswith("/scroll")])
    assert after - before == 4  # 63 documents in pages of 10, three of them read before
    assert contents(tmp_path / "c") == contents(by_number)


def test_an_expired_point_in_time_starts_again(
    by_token: Path, tmp_path: Path, no_waits: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    with SearchEngine("opensearch", "3.3.0").running() as server:
        assert run(["export", str(by_token), "--out", source(server)]) == 0
        line = ["import", source(server), "--out", str(tmp_path / "c"), "--batch", "10"]
        server.fault = lambda method, path, number: (500, {}) if len(server.searches) == 3 else None
        assert run(line) == 1
        server.fault = lambda method, path, number: None
        server.pits.clear()
        assert run([*line, "--resume"]) == 0
    assert "the point in time has expired: reading starts again" in capfd.readouterr().err
    assert contents(tmp_path / "c") == contents(by_token)


def test_a_server_that_is_busy_or_drops_a_connection_is_asked_again(
    qdrant: Qdrant, by_number: Path, tmp_path: Path, no_waits: list[float]
) -> None:
    assert run(["export", str(by_number), "--out", source(qdrant)]) == 0
    start = len(qdrant.requests)
    faults = {start + 1: (503, {}), start + 2: (429, {"retry-after": "7"}), start + 4: (0, {})}
    qdrant.fault = lambda method, path, number: faults.get(number)
    assert run(["import", source(qdrant), "--out", str(tmp_path / "c")]) == 0
    assert contents(tmp_path / "c") == contents(by_number)
    assert 7.0 in no_waits
    assert len(no_waits) == 3


def test_a_key_comes_from_a_file_or_the_environment_and_is_sent(
    qdrant: Qdrant, by_number: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("secret-1\n")
    assert run(["export", str(by_number), "--out", source(qdrant), "--key-file", str(tmp_path / "key")]) == 0
    assert {headers["api-key"] for _, _, headers in qdrant.requests} == {"secret-1"}
    monkeypatch.setenv("LSR_SOURCE_KEY", "user:secret-2")
    with SearchEngine("opensearch", "2.19.6").running() as server:
        assert run(["export", str(by_number), "--out", source(server)]) == 0
        assert {headers["authorization"] for _, _, headers in server.requests} == {"Basic dXNlcjpzZWNyZXQtMg=="}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("books", "nothing"), "Collection `nothing` doesn't exist!"),
        (("http://", "http://user:secret@"), "a password in the URL is visible"),
        (("http://", "ftp://"), "http://HOST:PORT"),
        (("qdrant:", "quadrant:"), "no such file"),
    ],
)
def test_a_source_that_cannot_be_read_says_why(
    qdrant: Qdrant, tmp_path: Path, capfd: pytest.CaptureFixture[str], changed: tuple[str, str], words: str
) -> None:
    foreign(qdrant)
    assert run(["import", source(qdrant).replace(*changed), "--out", str(tmp_path / "c")]) in (1, 2)
    said = capfd.readouterr().err
    assert words in said
    assert "secret" not in said
    assert not (tmp_path / "c").exists()


def test_a_server_that_is_not_there_is_named(
    tmp_path: Path, no_waits: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", "qdrant:http://127.0.0.1:9/books", "--out", str(tmp_path / "c")]) == 1
    assert "GET http://127.0.0.1:9/collections/books: " in capfd.readouterr().err
    assert len(no_waits) == json_client.ATTEMPTS - 1


@pytest.mark.parametrize("form", ["parquet", "huggingface", "arrow"])
def test_tables_bring_back_what_was_exported(by_token: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / {"parquet": "v.parquet", "huggingface": "v", "arrow": "v.arrow"}[form]
    assert run(["export", str(by_token), "--to", form, "--out", str(out)]) == 0
    assert run(["import", str(out), "--out", str(tmp_path / "again")]) == 0
    assert contents(tmp_path / "again") == contents(by_token)


def test_a_folder_of_pyserini_vectors_is_one_corpus(by_token: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    assert run(["export", str(by_token), "--to", "anserini", "--out", str(tmp_path / "all")]) == 0
    lines = (tmp_path / "all").read_text().splitlines()
    (folder / "a.jsonl").write_text("\n".join(lines[:30]))
    (folder / "b.json").write_text("\n".join(lines[30:]))
    assert run(["import", str(folder), "--out", str(tmp_path / "again")]) == 0
    found, before = contents(tmp_path / "again"), contents(by_token)
    assert found.keys() == before.keys()
    for name, (_, _, _, _, vector) in before.items():  # integers: the weight × 100, rounded
        assert found[name][-1] == {t: round(w * 100) for t, w in vector.items() if round(w * 100) > 0}


def test_a_huggingface_folder_is_not_overwritten(by_token: Path, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    assert run(["export", str(by_token), "--to", "huggingface", "--out", str(tmp_path / "v")]) == 1
    assert list((tmp_path / "v").iterdir()) == []
    assert run(["export", str(by_token), "--to", "huggingface"]) == 2
