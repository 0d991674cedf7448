"""What a router waits for before it begins, and what it says meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lsr.errors import ClusterUnavailable
from lsr.sharding.places import place_of
from service.cluster import deployment
from service.cluster.deployment import ServingOptions, wait_for_replicas
from service.cluster.writers import LiveOptions

SHARDS = {"app-0": "shard-0", "app-1": "shard-1"}
PLACE = place_of("/papers")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time passes only where the router sleeps."""
    now = [0.0]
    sleep = lambda seconds: now.__setitem__(0, now[0] + seconds)  # noqa: E731
    monkeypatch.setattr(deployment, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    return now


class FakeServe:
    """Ray Serve, whose replicas get ready at given seconds; a time that never comes: not at all."""

    def __init__(self, clock: Sequence[float], ready: dict[str, Sequence[float]], status: str = "DEPLOYING") -> None:
        self._clock, self._ready, self._status = clock, ready, status

    def status(self) -> Any:
        found = {}
        for application, shard in SHARDS.items():
            times = self._ready[shard]
            running = sum(1 for one in times if one <= self._clock[0])
            states = {"RUNNING": running, "STARTING": len(times) - running}
            found[application] = SimpleNamespace(
                status="RUNNING" if running == len(times) else self._status,
                message="Traceback\nno memory",
                deployments={shard: SimpleNamespace(replica_states=states)},
            )
        return SimpleNamespace(applications=found)


def test_a_router_begins_as_soon_as_all_replicas_are_ready(clock: list[float]) -> None:
    serve = FakeServe(clock, {"shard-0": [1, 2], "shard-1": [5, 20]})
    wait_for_replicas(serve, SHARDS, PLACE, ServingOptions(replicas=2), 4)
    assert clock[0] == 20


def test_a_router_begins_without_a_replica_that_finds_no_place_and_says_so(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    options = ServingOptions(replicas=2, live=LiveOptions(Path("live")))
    serve = FakeServe(clock, {"shard-0": [1, 2], "shard-1": [10, 1e9]})
    with caplog.at_level(logging.WARNING, "lsr.cluster"):
        wait_for_replicas(serve, SHARDS, PLACE, options, 2)
    assert clock[0] == 70  # a minute after each shard has one
    lines = [record.getMessage() for record in caplog.records]
    missing = "(shard-0 has 2 of 2, shard-1 has 1 of 2)"
    advice = "they reserve 2.3 CPUs together, and the cluster has 2: start more workers, or give fewer --replicas"
    assert lines[0] == f"still waiting for replicas {missing}; {advice}"
    assert lines[-1] == f"the router begins without all replicas {missing}; {advice}"


def test_a_shard_without_a_replica_is_waited_for_and_named_every_half_minute(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    serve = FakeServe(clock, {"shard-0": [1], "shard-1": [100]})
    with caplog.at_level(logging.WARNING, "lsr.cluster"):
        wait_for_replicas(serve, SHARDS, PLACE, ServingOptions(), 8)
    assert clock[0] == 100
    expected = "still waiting for replicas (shard-0 has 1 of 1, shard-1 has 0 of 1); they reserve 1 CPUs together, and "
    assert [record.getMessage() for record in caplog.records] == [f"{expected}the cluster has 8"] * 3


def test_replicas_that_serve_gives_up_are_one_line(clock: list[float]) -> None:
    serve = FakeServe(clock, {"shard-0": [1], "shard-1": [1e9]}, "DEPLOY_FAILED")
    with pytest.raises(ClusterUnavailable, match=r"the replicas do not start \(no memory\): each reserves") as caught:
        wait_for_replicas(serve, SHARDS, PLACE, ServingOptions(), 8)
    assert "\n" not in str(caught.value)
