"""Shards built and served with Ray, on this machine: the same documents, the same answers, replicas that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from lsr.cli.running import run
from lsr.collection import Collection
from lsr.corpora import Fields, open_corpus
from lsr.errors import ClusterUnavailable, CollectionNotFound
from lsr.sharding.building import Build, Plan, new_plan
from lsr.sharding.digest import digest_of, sum_of
from lsr.sharding.places import collection_name, place_of
from lsr.sharding.publishing import find_published, publish
from lsr.sharding.resharding import reshard_publication
from lsr.sharding.splitting import split_collection
from lsr.store import CollectionStore
from lsr.writing.bulk_load import index_corpus
from service.cluster.connection import connected
from service.cluster.deployment import ServingOptions, application_name
from service.cluster.indexing import BuildReport, build_shards
from service.cluster.serving import deployed
from service.cluster.writers import LiveOptions
from service.server import running
from tests.service import sharded_requests as requests
from tests.service.cluster_processes import worker_processes

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lsr[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")
SHARDS = 2


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with connected("local", cpus=4) as found:  # CPUs are only counted: so many replicas and workers fit
        yield found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "papers.jsonl"
    with path.open("w") as file:
        for document in requests.documents(3000):
            fields = {"id": document.id, "title": document.title, "text": document.text}
            file.write(json.dumps({**fields, "metadata": dict(document.metadata)}) + "\n")
    return path


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "papers"
    index_corpus(open_corpus(str(corpus)), folder, vectors=requests.VECTORS, schema=requests.SCHEMA)
    return folder


def plan(corpus: Path) -> Plan:
    return new_plan(
        [str(corpus)], format="auto", chunk=None, fields=Fields(), shards=SHARDS, workers=2, generation=1,
        vectors=requests.VECTORS, schema=requests.SCHEMA, search=None, device="auto",
    )  # fmt: skip


def build(ray: Any, corpus: Path, root: Path, **options: Any) -> BuildReport:
    return build_shards(
        ray, Build.begin(root, plan(corpus), resume=options.pop("resume", False)), place_of(str(root)), 2, **options
    )


@pytest.fixture(scope="module")
def published(ray: Any, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("out") / "papers"
    build(ray, corpus, root)
    return root


def test_workers_build_what_one_machine_builds(published: Path, whole: Path) -> None:
    publication = find_published(place_of(str(published)))
    assert publication is not None
    assert sum_of(entry.digest for entry in publication.shards) == digest_of(whole)
    assert not (published / "building").exists()


def test_a_build_goes_on_after_workers_are_killed(ray: Any, corpus: Path, whole: Path, tmp_path: Path) -> None:
    killed: list[int] = []
    tallies: list[int] = []  # a build does not depend on the actor that adds up its progress

    def progress(phase: str, done: int, _: int | None) -> None:
        if not tallies and done:
            tallies.extend(worker_processes("Tally"))
            for process in tallies:
                os.kill(process, signal.SIGKILL)
        if len(killed) < (1 if phase == "reading" else 2) and (done or phase == "reading"):
            workers = worker_processes("Worker")
            if workers:
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])

    report = build(ray, corpus, tmp_path, progress=progress)
    assert killed
    assert len(tallies) == 1
    assert report.accepted == 3000
    assert sum_of(entry.digest for entry in report.publication.shards) == digest_of(whole)


def test_a_build_whose_driver_is_killed_goes_on_with_resume(corpus: Path, whole: Path, tmp_path: Path) -> None:
    schema = json.dumps(requests.SCHEMA)
    lsr = "from lsr.cli import main; main()"
    command = [sys.executable, "-c", lsr, "index", str(corpus), "--out", str(tmp_path), "--encoder", "bm25"]
    command += ["--schema", schema, "--shards", str(SHARDS), "--ray", "local", "--json"]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(tmp_path.glob("building/*/part-*/part.json")):
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    assert find_published(place_of(str(tmp_path))) is None
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert (report["accepted"], report["failed"], report["documents"]) == (3000, 0, 3000)
    assert sum_of(entry["digest"] for entry in report["shards"]) == digest_of(whole)


@pytest.fixture(scope="module")
def router(ray: Any, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    cache = tmp_path_factory.mktemp("cache")
    options = ServingOptions(replicas=2, cache=cache, cpus=0.1, drain_seconds=3.0, published_seconds=0.5)
    with (
        deployed(str(published), options) as store,
        running(store) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def plain(whole: Path) -> Iterator[httpx.Client]:
    with CollectionStore(whole, "r") as store, running(store) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_the_router_answers_as_one_machine_does(plain: httpx.Client, router: httpx.Client) -> None:
    requests.assert_answers_alike(plain, router, "papers")


def test_no_request_fails_while_a_replica_is_killed(plain: httpx.Client, router: httpx.Client) -> None:
    body = {"query": {"text": "lobster stone"}, "k": 10, "params": {"exact": True}, "cache": False}
    expected = requests.without_times(plain.post("/v1/collections/papers/search", json=body).json())
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = router.post("/v1/collections/papers/search", json={**body, "timeout_ms": 50_000})
            answers.append((answer.status_code, requests.without_times(answer.json())))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    replicas = worker_processes("Replica")
    assert len(replicas) == 2 * SHARDS
    for victim in (replicas[0], replicas[-1]):
        time.sleep(1)
        os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(worker_processes("Replica")) < 2 * SHARDS:
        time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(worker_processes("Replica")) == 2 * SHARDS  # they were replaced
    assert len(answers) > 5
    assert [answer for answer in answers if answer != (200, expected)] == []


def test_no_request_fails_while_a_new_generation_takes_over(
    plain: httpx.Client, router: httpx.Client, published: Path
) -> None:
    body = {"query": {"text": "lobster stone"}, "k": 10, "params": {"exact": True}, "cache": False}
    expected = requests.without_times(plain.post("/v1/collections/papers/search", json=body).json())
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = router.post("/v1/collections/papers/search", json={**body, "timeout_ms": 50_000})
            answers.append((answer.status_code, requests.without_times(answer.json())))

    thread = threading.Thread(target=ask)
    thread.start()
    place = place_of(str(published))
    former = find_published(place)
    assert former is not None
    assert router.get("/v1/collections/papers").json()["seq"] == former.generation
    publish(place, reshard_publication(place, former, published, 1, generation=former.generation + 1), published)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and router.get("/v1/collections/papers").json()["seq"] == former.generation:
        time.sleep(0.2)
    while time.monotonic() < deadline and len(worker_processes("Replica")) > 2:  # the former ones are drained
        time.sleep(0.2)
    stop.set()
    thread.join()
    assert router.get("/v1/collections/papers").json()["seq"] == former.generation + 1
    assert len(worker_processes("Replica")) == 2
    assert [answer for answer in answers if answer != (200, expected)] == []
    assert 'lsr_shard_replicas{shard="shard-0000-of-0001"} 2.0' in router.get("/metrics").text


ROUTER = """
import os, sys
from pathlib import Path
from service.cluster.connection import connected
from service.cluster.deployment import ServingOptions
from service.cluster.serving import deployed
from service.cluster.writers import LiveOptions
address, uri, cache, live = sys.argv[1:]
options = ServingOptions(cache=Path(cache), cpus=0.1, live=LiveOptions(Path(live), 0.1))
with connected(address), deployed(uri, options):
    print("ready", flush=True)
    os._exit(9)
"""


def kill_a_router(ray: Any, uri: Path, options: ServingOptions) -> None:
    """Start a router in a process of its own, which starts replicas and writers, and is killed."""
    assert options.live is not None
    arguments = [ray.get_runtime_context().gcs_address, str(uri), str(options.cache), str(options.live.folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", ROUTER, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert (ended.returncode, ended.stdout.split()[-1:]) == (9, ["ready"]), ended.stderr[-2000:]


def test_routers_share_replicas_and_writers_and_the_last_one_ends_them(ray: Any, whole: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    publish(place_of(str(shared)), split_collection(whole, shared, 1), shared)
    options = ServingOptions(cache=tmp_path / "cache", cpus=0.1, live=LiveOptions(tmp_path / "live", 0.1))
    path = "/v1/collections/shared"

    def processes() -> list[list[int]]:
        return [worker_processes(name) for name in ("lsr-shared-1-live", "WriterActor", "RegistryActor")]

    with ExitStack() as first, ExitStack() as second:

        def router(stack: ExitStack) -> httpx.Client:
            url = stack.enter_context(running(stack.enter_context(deployed(str(shared), options))))
            return stack.enter_context(httpx.Client(base_url=url, timeout=60))

        kill_a_router(ray, shared, options)
        before = processes()
        assert [len(found) for found in before] == [1, 1, 1]  # they have outlived the router that started them
        one = router(first)
        answers: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            body = {"query": {"text": "lobster stone"}, "k": 10, "cache": False, "timeout_ms": 50_000}
            while not stop.is_set():
                answers.append(one.post(f"{path}/search", json=body).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            other = router(second)
            assert processes() == before  # nothing was started again for further routers
            written = {"documents": [{"id": "axolotl", "text": "axolotl"}]}
            assert other.post(f"{path}/documents", json=written).status_code == 200
            asked = len(answers)
            second.close()
            assert processes() == before
            deadline = time.monotonic() + 60
            while one.get(f"{path}/documents/axolotl").status_code != 200 and time.monotonic() < deadline:
                time.sleep(0.1)  # another router's writes are followed within a second or so
            written["documents"][0]["id"] = "axolotl2"
            assert one.post(f"{path}/documents", json=written).status_code == 200
            assert one.get(f"{path}/documents/axolotl").status_code == 200
            while len(answers) < asked + 3 and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            stop.set()
            asking.join()
        assert len(answers) >= asked + 3
        assert set(answers) == {200}
        assert processes() == before
    deadline = time.monotonic() + 60
    while any(processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes() == [[], [], []]


def test_an_encoder_that_does_not_exist_leaves_no_build_behind(
    ray: Any, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "no-encoder")
    command = ["index", str(corpus), "--out", str(tmp_path / "out"), "--encoder", missing, "--shards", "1"]
    assert run([*command, "--ray", "local"]) == 2
    assert f"there is no encoder {missing!r}" in capsys.readouterr().err
    assert list((tmp_path / "out" / "building").iterdir()) == []


def test_a_place_without_shards_is_named(ray: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(CollectionNotFound, match=r"has no shards\.json: publish shards there first"),
        deployed(str(tmp_path), ServingOptions()),
    ):
        pass


def test_names_of_collections_and_applications() -> None:
    assert collection_name("s3://bucket/Some Papers/?scheme=http") == "some-papers"
    assert collection_name("/data/papers") == "papers"
    assert application_name("papers", 3, "shard-0000-of-0002") == "lsr-papers-3-shard-0000-of-0002"
    assert application_name("papers", 3, "shard-0000-of-0002", live=True) == "lsr-papers-3-live-shard-0000-of-0002"


def test_a_shard_is_an_ordinary_collection(published: Path) -> None:
    publication = find_published(place_of(str(published)))
    assert publication is not None
    for entry in publication.shards:
        with Collection.open(published / entry.folder) as shard:
            assert shard.info().documents == entry.documents


def test_an_address_without_a_cluster_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**_: Any) -> None:
        raise ConnectionError("Ray is trying to start at 127.0.0.1:1\nbut nothing answers")

    monkeypatch.setattr(ray, "init", refuse)
    with (
        pytest.raises(ClusterUnavailable, match="start one with `ray start --head`") as caught,
        connected("127.0.0.1:1"),
    ):
        pass
    assert "\n" not in str(caught.value)
