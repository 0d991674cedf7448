"""Collections through the real systems that a package registry has: Qdrant Edge, Milvus Lite, the package datasets.

`make exchange` installs them. Qdrant Edge is the storage of Qdrant in a process: a small HTTP front here turns the
requests of Qdrant's API into its calls, so that the vectors and payloads pass through Qdrant's own code.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsr.cli.running import run
from lsr.collection import Collection
from tests.service.import_servers import Answer, Server

DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": "d1",
        "title": "T",
        "text": "x",
        "metadata": {"year": 2020, "tags": ["a"]},
        "sparse": {"4294967294": 0.1, "3": 2.7},
    },
    {"id": "ü 2", "text": 'quo"te\n', "parent": "p", "sparse": {"0": 1e-3, "17": 3.3333333}},
    *({"id": f"n{n}", "text": f"text {n}", "sparse": {str(n): n / 7, "3": 0.2}} for n in range(1, 300)),
]


class QdrantEdge(Server):
    """Qdrant's HTTP API, as far as import and export need it, over one shard of Qdrant Edge."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.edge = pytest.importorskip("qdrant_edge")
        self.folder = folder
        self.shard: Any = None
        self.parameters: dict[str, Any] = {}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        edge = self.edge
        value = json.loads(body) if body else {}
        if method == "PUT" and not path.endswith("/points"):
            self.folder.mkdir()
            sparse = {name: edge.EdgeSparseVectorParams() for name in value["sparse_vectors"]}
            dense = {
                name: edge.EdgeVectorParams(size=one["size"], distance=edge.Distance.Dot)
                for name, one in value["vectors"].items()
            }
            self.shard = edge.EdgeShard.create(str(self.folder), edge.EdgeConfig(vectors=dense, sparse_vectors=sparse))
            self.parameters = value
            return 200, {"result": True}
        if self.shard is None:
            return 404, {"status": {"error": "Not found"}}
        if method == "PUT":
            self.shard.update(edge.UpdateOperation.upsert_points([self._point(point) for point in value["points"]]))
            return 200, {"result": {"status": "completed"}}
        if method == "GET":
            return 200, {"result": {"config": {"params": self.parameters}}}
        if path.endswith("/count"):
            return 200, {"result": {"count": self.shard.count(edge.CountRequest(exact=True))}}
        records, following = self.shard.scroll(
            edge.ScrollRequest(
                offset=value.get("offset"), limit=value["limit"], with_payload=True, with_vector=value["with_vector"]
            )
        )
        points = [{"id": str(one.id), "payload": one.payload, "vector": self._vectors(one.vector)} for one in records]
        return 200, {"result": {"points": points, "next_page_offset": None if following is None else str(following)}}

    def _point(self, point: dict[str, Any]) -> Any:
        vectors = {
            name: self.edge.SparseVector(vector["indices"], vector["values"]) if isinstance(vector, dict) else vector
            for name, vector in point["vector"].items()
        }
        return self.edge.Point(point["id"], vectors, point["payload"])

    def _vectors(self, vectors: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {"indices": one.indices, "values": one.values} if isinstance(one, self.edge.SparseVector) else one
            for name, one in vectors.items()
        }


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    (tmp_path / "v.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS)))
    assert run(["import", str(tmp_path / "v.jsonl"), "--out", str(tmp_path / "c")]) == 0
    return tmp_path / "c"


@pytest.fixture
def qdrant(tmp_path: Path) -> Iterator[QdrantEdge]:
    server = QdrantEdge(tmp_path / "shard")
    with server.running():
        yield server


def contents(path: Path, dense: tuple[str, ...] = ()) -> dict[str, Any]:
    with Collection.open(path) as collection:
        return {
            document.id: (
                document.title,
                document.text,
                document.parent,
                dict(document.metadata),
                dict(zip(collection.tokens(ids), weights.astype(np.float32).tolist(), strict=True)),
                dict(document.vectors),
            )
            for document, ids, weights in collection.scan(dense=dense)
        }


def test_qdrant_edge_keeps_documents_and_vectors(qdrant: QdrantEdge, collection: Path, tmp_path: Path) -> None:
    source = f"qdrant:{qdrant.url}/books"
    assert run(["export", str(collection), "--out", source]) == 0
    assert run(["import", source, "--out", str(tmp_path / "again"), "--batch", "100"]) == 0
    assert contents(tmp_path / "again") == contents(collection)


def shard_files(folder: Path, archive: tarfile.TarFile, prefix: str) -> None:
    """Add a shard as a server's snapshot has it: each segment an archive, without the file of Qdrant Edge."""
    for segment in sorted((folder / "segments").iterdir()):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as inner:
            inner.add(segment, arcname="snapshot/files")
        entry = tarfile.TarInfo(f"{prefix}segments/{segment.name}.tar")
        entry.size = packed.tell()
        packed.seek(0)
        archive.addfile(entry, packed)
    archive.add(folder / "wal", arcname=f"{prefix}wal")


@pytest.mark.parametrize("form", ["shard", "collection"])
def test_a_snapshot_of_qdrant_is_read_by_qdrants_own_code(collection: Path, tmp_path: Path, form: str) -> None:
    servers = []
    for name in ("one", "two") if form == "collection" else ("one",):
        server = QdrantEdge(tmp_path / f"shard-{name}")
        servers.append(server)
        with server.running():
            assert run(["export", str(collection), "--out", f"qdrant:{server.url}/books"]) == 0
    points = server.edge.UpdateOperation
    ids = [record.id for record in server.shard.scroll(server.edge.ScrollRequest(limit=1000))[0]]
    if form == "collection":  # each shard has its own part of the documents
        servers[0].shard.update(points.delete_points(ids[:120]))
        servers[1].shard.update(points.delete_points(ids[120:]))
    for server in servers:
        server.shard.flush()
        server.shard.close()
    with tarfile.open(tmp_path / "books.snapshot", "w") as archive:
        for at, server in enumerate(servers):
            shard_files(server.folder, archive, f"{at}/" if form == "collection" else "")
        if form == "collection":
            (tmp_path / "config.json").write_text("{}")
            archive.add(tmp_path / "config.json", arcname="config.json")
    source = f"qdrant:{tmp_path}/books.snapshot"
    assert run(["import", source, "--out", str(tmp_path / "again"), "--batch", "100"]) == 0
    assert contents(tmp_path / "again") == contents(collection)


def test_a_file_that_is_no_snapshot_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("qdrant_edge")
    (tmp_path / "x.snapshot").write_bytes(b"no archive")
    with tarfile.open(tmp_path / "y.snapshot", "w") as archive:
        archive.add(tmp_path / "x.snapshot", arcname="file")
    for name, words in (
        ("x", "cannot be read as a snapshot"),
        ("y", "without a folder segments"),
        ("z", "no such file"),
    ):
        assert run(["import", f"qdrant:{tmp_path}/{name}.snapshot", "--out", str(tmp_path / "c")]) != 0
        assert words in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "c").exists()


def test_milvus_lite_keeps_documents_and_vectors(
    collection: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    source = f"milvus:{tmp_path}/m.db/books"
    assert run(["export", str(collection), "--out", source]) == 0
    assert run(["export", str(collection), "--out", source]) == 2  # it exists
    assert run(["export", str(collection), "--out", source, "--update"]) == 0
    assert run(["import", source, "--out", str(tmp_path / "again"), "--batch", "100"]) == 0
    assert contents(tmp_path / "again") == contents(collection)
    assert run(["import", f"milvus:{tmp_path}/m.db/others", "--out", str(tmp_path / "d")]) == 1
    assert f"milvus:{tmp_path}/m.db/others: " in capfd.readouterr().err


def test_the_package_datasets_reads_an_export_and_its_own_copy_comes_back(collection: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    assert run(["export", str(collection), "--to", "huggingface", "--out", str(tmp_path / "hf")]) == 0
    loaded = datasets.load_from_disk(str(tmp_path / "hf"))
    assert loaded.num_rows == len(DOCUMENTS)
    assert {"id", "title", "text", "tokens", "weights"} <= set(loaded.column_names)
    loaded.save_to_disk(str(tmp_path / "own"))
    assert run(["import", str(tmp_path / "own"), "--out", str(tmp_path / "again")]) == 0
    assert contents(tmp_path / "again") == contents(collection)


def test_dense_vectors_go_along(qdrant: QdrantEdge, tmp_path: Path) -> None:
    documents = [
        {"id": f"d{n}", "vectors": {"default": {"sparse": {"1": 0.5}}, "meaning": {"dense": [1.0, n / 7, -0.25, 0.5]}}}
        for n in range(20)
    ]
    (tmp_path / "v.jsonl").write_text("\n".join(map(json.dumps, documents)))
    assert run(["import", str(tmp_path / "v.jsonl"), "--out", str(tmp_path / "c")]) == 0
    assert run(["export", str(tmp_path / "c"), "--out", f"qdrant:{qdrant.url}/books"]) == 0
    assert run(["import", f"qdrant:{qdrant.url}/books", "--out", str(tmp_path / "again")]) == 0
    before, after = contents(tmp_path / "c", ("meaning",)), contents(tmp_path / "again", ("meaning",))
    assert before.keys() == after.keys()
    for name, (*_, vectors) in before.items():
        given = np.array(vectors["meaning"].values)
        # Kept as int8: a second time the step is the same, up to one.
        assert np.allclose(after[name][-1]["meaning"].values, given, atol=2 / 127)
