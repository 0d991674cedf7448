"""The router's side of a shard: a request to one of its replicas, with a deadline, sent again where a replica dies.

A request that takes longer than most recent ones is sent to a second replica too, and the first answer counts (hedging:
Dean and Barroso, The Tail at Scale, 2013). At most a tenth of the requests are, so that an overload does not double.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from index.errors import SearchStopped
from lsr.errors import ShardUnavailable
from lsr.sharding.asking import Answer, Pin, VersionGone
from service.cluster.channel import Address, Call, Connections, wait_for
from service.cluster.replicas import Refusal
from service.cluster.shard_metrics import ShardMetrics

_logger = logging.getLogger("lsr.cluster")
_PATIENCE_SECONDS: Final = 30.0  # of an operation that has no deadline
_REST_SECONDS: Final = 0.05  # between two looks for a replica, where none is known
_SUSPECT_SECONDS: Final = 5.0
_HEDGED: Final = frozenset({"search", "score", "dense_scores", "fetch", "columns", "ids", "find", "count", "holds"})
_PERCENTILE: Final = 95
_RECENT: Final = 256
_LEAST_SAMPLE: Final = 32
_LEAST_DELAY: Final = 0.002
_FIRST_DELAY: Final = 1.0  # seconds, before there is a sample
_MOST_HEDGED: Final = 0.1  # of the requests

FindReplicas = Callable[[], Iterable[tuple[str, Address]] | None]  # those that are alive; None: not known now


class Member:
    """One replica as its router sees it."""

    def __init__(self, name: str, address: Address) -> None:
        self.name = name
        self.connections = Connections(address)
        self.in_flight = 0


class ReplicatedShard:
    """A shard with several replicas. Safe to use from many threads."""

    def __init__(self, name: str, find: FindReplicas, metrics: ShardMetrics) -> None:
        """`find` is asked for the replicas at the start, by `refresh`, and where one does not answer."""
        self.name = name
        self._find = find
        self._metrics = metrics
        self._members: dict[str, Member] = {}
        self._suspects: dict[str, float] = {}  # replicas that did not answer, and until when they come last
        self._changing = threading.Lock()
        self._times: dict[str, deque[float]] = {operation: deque(maxlen=_RECENT) for operation in _HEDGED}
        self._delays: dict[str, float] = {}
        self._sent = self._hedged = 0
        self.refresh()

    @property
    def replicas(self) -> list[str]:
        """The names of the replicas that are known to be alive."""
        return sorted(self._members)

    def refresh(self) -> None:
        """Learn which replicas there are."""
        answer = self._find()
        if answer is None:
            return
        found = dict(answer)
        with self._changing:
            for name in [name for name in self._members if name not in found]:
                self._forget(name)
            self._suspects = {name: until for name, until in self._suspects.items() if name in found}
            for name, address in found.items():
                if name not in self._members:
                    self._members[name] = Member(name, address)
            self._metrics.replicas(self.name, len(self._members))

    def begin(self, operation: str, arguments: Sequence[Any], seconds: float | None, pin: Pin) -> Answer:
        """Send an operation to a replica, and return what waits for its answer."""
        return _Request(self, operation, tuple(arguments), seconds, pin).answer

    def close(self) -> None:
        """Close the connections; the replicas belong to the cluster."""
        with self._changing:
            for name in list(self._members):
                self._forget(name)

    def choose(self, without: Iterable[str] = ()) -> Member | None:
        """Return the replica with the fewest requests in flight, None where there is no other.

        One that did not answer a moment ago comes last: it may be known for some seconds after its death.
        """
        now = time.monotonic()
        with self._changing:
            members = [one for name, one in self._members.items() if name not in without]
            return min(members, key=lambda one: (self._suspects.get(one.name, 0.0) > now, one.in_flight), default=None)

    def began(self, member: Member) -> None:
        """Count a request in flight."""
        with self._changing:
            member.in_flight += 1

    def ended(self, member: Member) -> None:
        """Count it no longer."""
        with self._changing:
            member.in_flight -= 1

    def is_known(self, member: Member) -> bool:
        """Whether a replica is still one of the shard's."""
        return self._members.get(member.name) is member

    def lose(self, member: Member, error: BaseException) -> None:
        """Note that a replica does not answer; it comes back with `refresh`, where it lives."""
        with self._changing:
            self._suspects[member.name] = time.monotonic() + _SUSPECT_SECONDS
            if self._members.get(member.name) is member:
                self._forget(member.name)
                _logger.warning("%s: replica %s does not answer (%r)", self.name, member.name, error)
        self._metrics.lost(self.name, member.name)

    def delay(self, operation: str) -> float | None:
        """Return after which time a request is hedged; None: not at all."""
        if operation not in _HEDGED or self._hedged > _MOST_HEDGED * self._sent + 1:
            return None
        return self._delays.get(operation, _FIRST_DELAY)

    def sent(self, *, hedged: bool = False) -> None:
        """Count a request."""
        self._sent += 1
        if hedged:
            self._hedged += 1
            self._metrics.hedged(self.name)

    def took(self, member: Member, operation: str, seconds: float, *, by_hedge: bool) -> None:
        """Note how long an answer took."""
        self._metrics.answered(self.name, member.name, seconds, by_hedge=by_hedge)
        times = self._times.get(operation)
        if times is None:
            return
        times.append(seconds)
        if len(times) >= _LEAST_SAMPLE and self._sent % 16 == 0:
            self._delays[operation] = max(_LEAST_DELAY, float(np.percentile(list(times), _PERCENTILE)))

    def _forget(self, name: str) -> None:
        self._members.pop(name).connections.close()
        self._metrics.replicas(self.name, len(self._members))


class _Request:
    """One request: where it was sent, and its answer."""

    def __init__(
        self, shard: ReplicatedShard, operation: str, arguments: tuple[Any, ...], seconds: float | None, pin: Pin
    ) -> None:
        self._shard = shard
        self._operation = operation
        self._arguments = arguments
        self._bounded = seconds is not None
        self._pin = pin
        self._began = time.monotonic()
        self._end = self._began + (_PATIENCE_SECONDS if seconds is None else seconds)
        self._calls: dict[Call, tuple[Member, float, bool]] = {}
        self._tried: set[str] = set()
        self._alone = False  # whether there is no second replica to send to
        self._send()

    def answer(self) -> Any:
        """Wait for the answer; raises ShardUnavailable, SearchStopped, VersionGone, and the operation's error."""
        try:
            while True:
                found = self._next()
                if found is not None:
                    return self._result(*found)
        finally:
            for call, (member, _, _) in self._calls.items():
                call.abandon()
                self._shard.ended(member)

    def _next(self) -> tuple[Member, Any] | None:
        """Wait for an answer, or for the moment to send the request (again); None where there is none yet."""
        now = time.monotonic()
        if now >= self._end:
            self._stop()
        if not self._calls:
            if not self._send():
                time.sleep(min(_REST_SECONDS, self._end - now))
                self._shard.refresh()
                self._tried.clear()
            return None
        hedge_at = self._hedge_at()
        ready = wait_for(list(self._calls), min(hedge_at, self._end) - now)
        if not ready and hedge_at <= time.monotonic() < self._end:
            self._alone = not self._send(hedged=True)
        for call in ready:
            member, sent, by_hedge = self._calls.pop(call)
            self._shard.ended(member)
            try:
                found = call.receive()
            except (OSError, EOFError) as error:
                self._shard.lose(member, error)
                self._check_pin(member)
            else:
                self._shard.took(member, self._operation, time.monotonic() - sent, by_hedge=by_hedge)
                return member, found
        return None

    def _hedge_at(self) -> float:
        """Return when the request is sent to a second replica too; infinite where it is not."""
        delay = self._shard.delay(self._operation)
        if len(self._calls) != 1 or self._alone or self._pin.replica is not None or delay is None:
            return math.inf
        return self._began + delay

    def _send(self, *, hedged: bool = False) -> bool:
        """Send the request to one more replica; False where there is none that accepts it."""
        pinned = self._pin.replica
        while True:
            member = pinned if isinstance(pinned, Member) else self._shard.choose(self._tried)
            if member is None:
                return False
            if pinned is not None and not self._shard.is_known(member):
                raise VersionGone(f"{self._shard.name}: the replica that this search read is gone")
            self._tried.add(member.name)
            left = max(self._end - time.monotonic(), 0.001) if self._bounded else None
            pin = self._pin
            try:
                call = member.connections.send(
                    (self._operation, self._arguments, left, pin.version, pin.least, pin.trace)
                )
            except (OSError, EOFError) as error:
                self._shard.lose(member, error)
                continue
            self._shard.began(member)
            self._shard.sent(hedged=hedged)
            self._calls[call] = (member, time.monotonic(), hedged)
            return True

    def _check_pin(self, member: Member) -> None:
        if self._pin.replica is member:
            raise VersionGone(f"{self._shard.name}: the replica that this search read is gone")

    def _result(self, member: Member, found: Any) -> Any:
        result, version, sticky = found
        if version is None:
            refusal = Refusal(*result)
            if refusal.kind == "VersionGone":
                raise VersionGone(f"{self._shard.name}: {refusal.message}")
            raise refusal.error(self._shard.name)
        self._pin.version = version
        if sticky:
            self._pin.replica = member
        return result

    def _stop(self) -> None:
        if self._calls and self._bounded:
            raise SearchStopped("the search was stopped before it was done: a shard was late")
        why = "its answer is late" if self._calls else "none of its replicas is ready"
        raise ShardUnavailable(f"{self._shard.name} does not answer: {why}")
