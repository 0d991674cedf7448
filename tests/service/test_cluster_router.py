"""A router and replicas through real connections, without Ray: deadlines, deaths, hedging, metrics, traces."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest

pytest.importorskip("msgpack", reason="msgpack is not installed: pip install 'lsr[ray]'")

from index import SearchParameters
from index.errors import SearchStopped
from lsr.documents import DenseInput, Document, SparseByIndex, SparseByToken
from lsr.errors import QueryError, ShardUnavailable
from lsr.results import Damage
from lsr.search.query_vectors import QueryVector
from lsr.search.rows import ValueCounts
from lsr.sharding.asking import TRACE, Inquiry, Pin, VersionGone
from lsr.sharding.selection import Both, Everything, Filtered, Matching, Only, Without
from lsr.sharding.shard import Fetched, Found, Wanted
from service.cluster.channel import Address, Connections
from service.cluster.replicas import ReplicaServer
from service.cluster.router import ReplicatedShard
from service.cluster.shard_metrics import ShardMetrics
from service.cluster.wire import MalformedMessage, from_bytes, to_bytes
from service.http.tracing import trace_of


class Reader:
    """A shard that answers with its name, and does what a test asks of it first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.before: Any = lambda: None
        self.asked: list[tuple[Any, ...]] = []

    def answer(
        self, operation: str, arguments: Sequence[Any], seconds: float | None, version: int | None, least: int
    ) -> tuple[Any, int]:
        self.asked.append((operation, arguments, version, least))
        self.before()
        return self.name, 7

    def close(self) -> None:
        pass


class Replicas:
    """Replicas of one shard and the router's side of it."""

    def __init__(self, count: int, *, sticky: bool = False) -> None:
        self.readers = {f"r{at}": Reader(f"r{at}") for at in range(count)}
        self.servers = {
            name: ReplicaServer(reader, "127.0.0.1", name=name, sticky=sticky) for name, reader in self.readers.items()
        }
        self.metrics = ShardMetrics()
        self.shard = ReplicatedShard("shard-0", self.alive, self.metrics)

    def alive(self) -> list[tuple[str, Address]]:
        return [(name, server.address) for name, server in self.servers.items()]

    def kill(self, name: str) -> None:
        self.servers.pop(name).close()

    def ask(self, operation: str = "search", seconds: float | None = 5.0, pin: Pin | None = None) -> Any:
        return self.shard.begin(operation, (1, "a"), seconds, pin or Pin())()

    def sample(self, name: str, **labels: str) -> float:
        registry = CollectorRegistry()
        registry.register(self.metrics)
        return registry.get_sample_value(name, labels) or 0.0

    def close(self) -> None:
        self.shard.close()
        for server in self.servers.values():
            server.close()


@pytest.fixture
def two() -> Iterator[Replicas]:
    made = Replicas(2)
    yield made
    made.close()


def test_requests_go_to_all_replicas_and_are_counted(two: Replicas) -> None:
    assert {two.ask() for _ in range(8)} == {"r0"}  # one request at a time: each finds all of them idle
    release = threading.Event()
    two.readers["r0"].before = release.wait
    waiting = two.shard.begin("describe", (), 5.0, Pin())
    assert two.ask() == "r1"  # the other one is busy
    release.set()
    assert waiting() == "r0"
    labels = {"shard": "shard-0", "replica": "r0"}
    assert two.sample("lsr_shard_request_duration_seconds_count", **labels) == 9
    assert two.sample("lsr_shard_replicas", shard="shard-0") == 2
    registry = CollectorRegistry()
    registry.register(two.metrics)
    assert b"lsr_shard_hedged_total" in generate_latest(registry)


def test_a_request_whose_replica_dies_is_sent_to_another_one(two: Replicas) -> None:
    entered, release = threading.Event(), threading.Event()
    two.readers["r0"].before = lambda: (entered.set(), release.wait(30))
    answer = two.shard.begin("describe", (), 10.0, Pin())
    assert entered.wait(10)
    two.kill("r0")
    assert answer() == "r1"
    release.set()
    assert two.shard.replicas == ["r1"]
    assert two.sample("lsr_shard_replica_lost_total", shard="shard-0", replica="r0") == 1


def test_a_search_that_reads_one_replicas_version_does_not_go_on_with_another_one() -> None:
    both = Replicas(2, sticky=True)
    pin = Pin(least=3)
    assert both.ask(pin=pin) == "r0"
    assert (pin.version, pin.replica is not None) == (7, True)
    both.readers["r0"].before = lambda: time.sleep(0.01)
    assert {both.ask(pin=pin) for _ in range(5)} == {"r0"}
    assert both.readers["r0"].asked[-1][2:] == (7, 3)
    both.kill("r0")
    both.shard.refresh()
    with pytest.raises(VersionGone, match="is gone"):
        both.ask(pin=pin)
    assert both.ask(pin=Pin()) == "r1"
    both.close()


def test_a_replica_that_was_added_is_used_and_one_that_was_drained_is_not(two: Replicas) -> None:
    reader = Reader("r2")
    two.servers["r2"] = ReplicaServer(reader, "127.0.0.1", name="r2")
    two.kill("r0")
    two.kill("r1")
    assert two.ask() == "r2"  # found without waiting for the next look
    two.shard.refresh()
    assert two.shard.replicas == ["r2"]


def test_without_a_replica_a_search_waits_for_one_until_its_deadline(two: Replicas) -> None:
    two.kill("r0")
    two.kill("r1")
    with pytest.raises(ShardUnavailable, match="none of its replicas is ready"):
        two.ask(seconds=0.3)
    waited: list[Any] = []
    thread = threading.Thread(target=lambda: waited.append(two.ask(seconds=20)))
    thread.start()
    time.sleep(0.2)
    two.servers["r9"] = ReplicaServer(Reader("r9"), "127.0.0.1", name="r9")
    thread.join()
    assert waited == ["r9"]


def test_a_late_answer_ends_at_the_deadline_and_its_connection_is_not_used_again(two: Replicas) -> None:
    for reader in two.readers.values():
        reader.before = lambda: time.sleep(1.0)
    began = time.monotonic()
    with pytest.raises(SearchStopped, match="a shard was late"):
        two.ask(seconds=0.2)
    assert time.monotonic() - began < 1.0
    for reader in two.readers.values():
        reader.before = lambda: None
    assert two.ask("describe") in ("r0", "r1")
    assert [one for reader in two.readers.values() for one in reader.asked][-1][0] == "describe"


def test_the_slowest_requests_are_hedged_and_counted(two: Replicas) -> None:
    for _ in range(64):
        two.ask()
    two.shard._delays["search"], two.shard._hedged = 0.05, 0  # a busy machine may have hedged some of these already
    before = [two.sample(f"lsr_shard_{name}_total", shard="shard-0") for name in ("hedged", "hedge_won")]
    release = threading.Event()
    two.readers["r0"].before = release.wait
    assert two.ask(seconds=20) == "r1"
    release.set()
    after = [two.sample(f"lsr_shard_{name}_total", shard="shard-0") for name in ("hedged", "hedge_won")]
    assert after == [before[0] + 1, before[1] + 1]
    assert two.shard.delay("warm") is None  # what is not part of a search is never sent twice


def test_the_first_requests_do_not_wait_for_a_replica_that_says_nothing(two: Replicas) -> None:
    release = threading.Event()
    two.readers["r0"].before = release.wait  # its machine is gone, so that nobody refuses the request
    assert two.ask(seconds=30) == "r1"
    release.set()


def test_a_connection_ends_soon_after_the_other_machine_is_gone(two: Replicas) -> None:
    """The kernel's part: here no machine can be taken from the network."""
    member = two.shard.choose()
    assert member is not None
    call = member.connections.send(("search", (), 5.0, None, 0, Pin().trace))
    opened = socket.socket(fileno=os.dup(call.connection.fileno()))
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 5
    assert 0 < opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 5_000
    opened.close()
    assert call.receive()[0] == member.name


def test_at_most_a_tenth_of_the_requests_is_hedged(two: Replicas) -> None:
    for _ in range(64):
        two.ask()
    for reader in two.readers.values():
        reader.before = lambda: time.sleep(0.02)
    for _ in range(60):
        two.ask()
    hedged = two.sample("lsr_shard_hedged_total", shard="shard-0")
    assert 0 < hedged <= 0.1 * (124 + hedged) + 2


def test_the_only_replica_of_a_shard_is_waited_for_without_a_second_request() -> None:
    one = Replicas(1)
    for _ in range(64):
        one.ask()
    one.readers["r0"].before = lambda: time.sleep(0.3)
    used = time.process_time()
    assert one.ask() == "r0"
    assert time.process_time() - used < 0.25  # it sleeps meanwhile
    assert one.sample("lsr_shard_hedged_total", shard="shard-0") == 0
    one.close()


def test_a_replica_that_did_not_answer_comes_last_until_it_is_known_to_be_well(two: Replicas) -> None:
    server = two.servers["r0"]
    server.close()  # it is dead, and still in the directory
    assert two.ask() == "r1"
    two.shard.refresh()
    assert two.shard.replicas == ["r0", "r1"]
    two.readers["r1"].before = lambda: time.sleep(0.05)
    threads = [threading.Thread(target=two.ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert two.sample("lsr_shard_replica_lost_total", shard="shard-0", replica="r0") <= 1


def test_errors_of_a_shard_arrive_as_what_they_are(two: Replicas) -> None:
    def raising(error: Exception) -> Any:
        def before() -> None:
            raise error

        return before

    for error, kind in (
        (QueryError("no vector", field="using"), QueryError),
        (SearchStopped("late"), SearchStopped),
        (VersionGone("version 3"), VersionGone),
        (RuntimeError("a defect"), ShardUnavailable),
    ):
        for reader in two.readers.values():
            reader.before = raising(error)
        with pytest.raises(kind, match=str(error)):
            two.ask()


def test_one_trace_id_goes_from_the_request_to_every_shard(two: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lsr.cluster")
    offered = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    token = TRACE.set(trace_of(offered))
    try:
        inquiry = Inquiry([two.shard], [1])
        inquiry.ask("search", {0: (1,)})
        inquiry.ask("fetch", {0: (1,)})
    finally:
        TRACE.reset(token)
    lines = [
        record.getMessage()
        for record in caplog.records
        if "trace 0af7651916cd43dd8448eb211c80319c" in record.getMessage()
    ]
    assert [line.split(": ")[1].split(" ")[0] for line in lines] == ["search", "fetch"]
    for wrong in (None, "", "00-xyz", offered.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32), offered + "x"):
        made = trace_of(wrong)
        assert made != wrong
        assert trace_of(made) == made


def test_spans_of_a_shard_continue_the_routers_trace(two: Replicas) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = provider
    try:
        two.ask(pin=Pin(trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    finally:
        trace._TRACER_PROVIDER = before
    (span,) = exporter.get_finished_spans()
    assert span.name == "shard search"
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


def test_who_does_not_know_the_secret_is_not_answered(two: Replicas) -> None:
    address = two.servers["r0"].address
    stranger = Connections(address._replace(secret=b"guessed"))
    with pytest.raises(ConnectionRefusedError, match="another secret"):
        stranger.send(("search", (), None, None, 0, ""))
    assert two.readers["r0"].asked == []
    assert "secret" not in repr(address)
    assert address.secret.hex() not in repr(address)


VALUES: tuple[Any, ...] = (
    None, True, 3, 2.5, "text", b"bytes", [1, [2]], (1, (2, "a")), {"a": {"b": [1]}, 3: 4},
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), date(2026, 1, 2), Path("a/b"),
    SearchParameters(exact=True), Damage(Path("x"), "gone", 3),
    Document("d", "t", "x", "p", {"year": 1, "tags": ["a"]}, {"v": SparseByToken({"a": 1.0})}),
    SparseByIndex((1, 2), (0.5, 1.5)), DenseInput((1.0, 2.0)),
    Everything(), Both(Filtered({"a": {"gte": 1}}), Everything()),
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_message_is_what_was_sent(value: Any) -> None:
    found = from_bytes(to_bytes(value))
    assert found == value
    assert type(found) is type(value) or isinstance(value, Path)


def test_arrays_and_tables_arrive_as_they_are() -> None:
    rows = np.array([3, 1], dtype=np.int64)
    query = QueryVector(rows, np.array([0.5, 1.5], dtype=np.float32), ("unknown",))
    wanted = (Wanted("a", query, 10), Only(rows), Without(Everything(), rows), Matching(Everything(), "a", rows))
    answers = (
        Found(rows, query.weights, ["x", "y"], True, 0.9),
        Fetched([Document("d")], {"a": [(rows, query.weights)]}, {"m": [(rows.astype(np.int8), np.float32(0.5))]}),
    )
    found = from_bytes(to_bytes((*wanted, *answers)))
    assert repr(found) == repr((*wanted, *answers))
    counts = ValueCounts(pa.array(["x", None, "y"]), rows, 2)
    table = pa.table({"year": [1, None], "tags": [["a"], None]})
    again, same = from_bytes(to_bytes((counts, table)))
    assert (again.values.equals(counts.values), again.counts.tolist(), again.missing) == (True, [3, 1], 2)
    assert same.equals(table)
    array = found[0].query.term_ids
    assert (array.dtype, array.flags.writeable) == (np.dtype(np.int64), True)
    assert isinstance(found[-1].dense["m"][0][1], np.float32)


@pytest.mark.parametrize("content", [b"", b"\xc1", to_bytes([1])[:-1], b"\xc7\x02\x01\x92\xcc", to_bytes(3) + b"x"])
def test_bytes_that_are_not_a_message_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedMessage, match="one version on all machines"):
        from_bytes(content)


def test_what_cannot_be_a_message_is_refused() -> None:
    for value in (object(), {1, 2}, np.array(["a"], dtype=object), np.array([1j])):
        with pytest.raises(TypeError):
            to_bytes(value)
