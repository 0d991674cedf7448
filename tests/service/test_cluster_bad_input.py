"""What goes wrong before a cluster builds or serves: one line that says what to do, and nothing is half-published."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lsr[ray]'")

from lsr.collection import Collection
from lsr.corpora import Fields
from lsr.documents import Document
from lsr.errors import ClusterUnavailable, LsrError, ObjectStoreError
from lsr.sharding.building import Build, make_common, make_part, new_plan
from lsr.sharding.cache import check_published
from lsr.sharding.manifest import Publication
from lsr.sharding.places import place_of
from lsr.sharding.publishing import find_published, publish
from lsr.sharding.splitting import split_collection
from lsr.vectors import VectorConfig
from service.cluster.connection import connected
from service.cluster.indexing import Failed, Worker


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Publication]:
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig("bm25")}) as collection:
        collection.write([Document(f"d{number}", text=f"stone {number}") for number in range(50)])
        collection.seal()
    publication = split_collection(tmp_path / "c", tmp_path / "papers", 2)
    publish(place_of(str(tmp_path / "papers")), publication, tmp_path / "papers")
    return tmp_path / "papers", publication


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_no_cluster_at_the_address_is_said_at_once() -> None:
    began = time.monotonic()
    with (
        pytest.raises(ClusterUnavailable, match="start one with `ray start --head`") as caught,
        connected(f"127.0.0.1:{closed_port()}"),
    ):
        pass
    assert time.monotonic() - began < 60  # Ray itself tries for minutes
    assert "\n" not in str(caught.value)


def test_the_command_ends_with_one_line_and_publishes_nothing(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": "d1", "text": "stone"}\n')
    command = [sys.executable, "-c", "from lsr.cli import main; main()", "index", str(tmp_path / "corpus.jsonl")]
    command += ["--out", str(tmp_path / "out"), "--encoder", "bm25", "--shards", "2"]
    command += ["--ray", f"127.0.0.1:{closed_port()}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=os.environ.copy())
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "no Ray cluster answers" in ended.stderr
    assert not (tmp_path / "out").exists()


def run_lsr(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from lsr.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=os.environ.copy())


def test_a_publication_and_the_options_of_a_cluster_need_ray(published: tuple[Path, Publication]) -> None:
    root, _ = published
    for options, said in (
        ((str(root), "--port", "0"), "holds a collection in shards: give --ray"),
        ((str(root), "--port", "0", "--live", str(root / "live")), "--live is for collections in shards: give --ray"),
        ((str(root.parent / "c"), "--port", "0", "--replicas", "2"), "--replicas is for collections in shards"),
    ):
        ended = run_lsr("serve", *options)
        assert ended.returncode == 2, ended.stderr
        assert said in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1
    assert not (root / "live").exists()


def test_nothing_published_is_said_before_a_cluster_starts(tmp_path: Path) -> None:
    environment = {"LSR_RAY_TEMP": str(tmp_path / "ray")}
    command = [sys.executable, "-c", "from lsr.cli import main; main()", "serve", str(tmp_path), "--ray", "local"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **environment}
    )
    assert ended.returncode == 2
    assert "publish shards there first" in ended.stderr
    assert not (tmp_path / "ray").exists()


def test_an_object_store_that_refuses_is_one_line_that_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lsr")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    place = place_of(f"s3://papers/main?endpoint_override=127.0.0.1:{closed_port()}&scheme=http")
    with pytest.raises(ObjectStoreError, match="check the address, that the bucket exists, and the rights") as caught:
        find_published(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lost", ["a shard's folder", "a file", "some bytes"])
def test_a_missing_shard_folder_is_named_before_a_replica_starts(
    published: tuple[Path, Publication], lost: str
) -> None:
    root, publication = published
    place = place_of(str(root))
    check_published(place, publication)
    folder = root / publication.shards[1].folder
    if lost == "a shard's folder":
        folder.rename(folder.with_name("elsewhere"))
    elif lost == "a file":
        next(folder.rglob("documents.arrow")).unlink()
    else:
        file = next(folder.rglob("documents.arrow"))
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ObjectStoreError, match="shard-0001-of-0002") as caught:
        check_published(place, publication)
    assert "publish" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_worker_without_the_encoders_files_is_reported_and_nothing_is_published(
    tmp_path: Path, make_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = make_checkpoint("bert")
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": "d1", "text": "heart attack"}) + "\n")
    plan = new_plan(
        [str(tmp_path / "corpus.jsonl")], format="auto", chunk=None, fields=Fields(), shards=1, workers=1, generation=1,
        vectors={"default": VectorConfig(str(checkpoint))}, schema=None, search=None, device="cpu",
    )  # fmt: skip
    build = Build.begin(tmp_path / "out", plan, resume=False)
    for part in build.part_numbers:
        make_part(build, part)
    make_common(build)
    checkpoint.rename(checkpoint.with_name("not-on-this-machine"))

    class Tally:
        class add:
            remote = staticmethod(lambda *_: None)

    found: Any = Worker(str(build.root), json.loads(json.dumps(asdict(plan))), Tally()).shard(0, None)
    assert isinstance(found, Failed)
    error = found.error()
    assert isinstance(error, LsrError)
    assert str(checkpoint) in str(error)
    assert "put the encoder's files at the same path on every machine, then go on with --resume" in str(error)
    assert "\n" not in str(error)
    assert find_published(place_of(str(tmp_path / "out"))) is None
    checkpoint.with_name("not-on-this-machine").rename(checkpoint)
    again: Any = Worker(str(build.root), json.loads(json.dumps(asdict(plan))), Tally()).shard(0, None)
    assert again.report["accepted"] == 1
