"""The replicas of a shard, as Ray Serve runs them: each opens the shard from its cache and answers routers.

A replica is started for one folder of one generation, so whatever is published later, it answers from the documents
that its router knows. Requests come through connections (channel.py), not through Serve's handles.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from index.errors import SearchStopped
from lsr.errors import EXPECTED_ERRORS, LsrError, QueryError, ShardUnavailable, UnknownField
from lsr.sharding.asking import Reads, VersionGone
from lsr.sharding.cache import ShardCache
from lsr.sharding.live_reader import LiveReader
from lsr.sharding.manifest import FolderEntry
from lsr.sharding.places import place_of
from lsr.sharding.shard import ShardReader
from service.cluster.channel import Address, Listener
from service.cluster.directory import REPORT_SECONDS, directory
from service.cluster.writers import ActorWriter
from service.http.tracing import span, trace_id

_logger = logging.getLogger("lsr.cluster")
_DRAIN_SECONDS: Final = 5.0
_SLOW_SECONDS: Final = 0.5


class Refusal(NamedTuple):
    """An expected error of a replica, as it can be sent: what it is, its message and its field."""

    kind: str
    message: str
    field: str | None

    def error(self, shard: str) -> Exception:
        """Return the error for the caller of the router."""
        if self.kind == "SearchStopped":
            return SearchStopped(self.message)
        if self.kind == "UnknownField":
            return UnknownField(self.message, field=self.field)
        if self.kind == "QueryError":
            return QueryError(self.message, field=self.field)
        return ShardUnavailable(f"{shard}: {self.message}")


class ReplicaServer:
    """Answers a router's requests to one shard on a port."""

    def __init__(self, reader: Reads, host: str, *, name: str, sticky: bool = False) -> None:
        """`sticky`: another replica may have other versions, so a search must stay with this one. Raises OSError."""
        self._reader = reader
        self._name = name
        self._sticky = sticky
        self._listener = Listener(host, self._answer)
        self._listener.start()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._listener.address

    def close(self, seconds: float = 0.0) -> None:
        """Accept nothing more, and wait up to `seconds` for what is in flight."""
        self._listener.close(seconds)

    def _answer(self, request: Any) -> tuple[Any, int | None, bool]:
        operation, arguments, seconds, version, least, trace = request
        began = time.perf_counter()
        try:
            with span(f"shard {operation}", trace, replica=self._name):
                result, read = self._reader.answer(operation, arguments, seconds, version, least)
        except (*EXPECTED_ERRORS, VersionGone) as error:
            _logger.info("%s: %s refused (%s), trace %s", self._name, operation, error, trace_id(trace) or "none")
            return tuple(Refusal(type(error).__name__, str(error), getattr(error, "field", None))), None, False
        except Exception as error:
            _logger.exception("%s: %s failed, trace %s", self._name, operation, trace_id(trace) or "none")
            return tuple(Refusal("LsrError", f"{operation} failed: {error!r}", None)), None, False
        took = time.perf_counter() - began
        level = logging.WARNING if took >= _SLOW_SECONDS else logging.DEBUG
        _logger.log(
            level, "%s: %s took %.1f ms, trace %s", self._name, operation, took * 1e3, trace_id(trace) or "none"
        )
        return result, read, self._sticky


class Replica:
    """One replica of a shard."""

    def __init__(
        self,
        application: str,
        uri: str,
        entry: FolderEntry,
        cache: str,
        cache_bytes: int,
        writer: str | None = None,
    ) -> None:
        """Fill the cache, open the shard, warm it, listen; raises what these raise.

        writer  the name of the shard's writer, whose writes the replica follows; None for an immutable shard
        """
        import ray
        from ray import serve

        shards = ShardCache(Path(cache), cache_bytes)
        self._held = shards.open(place_of(uri), entry)
        self._application = application
        self._name = str(serve.get_replica_context().replica_id.unique_id)
        self._reader: ShardReader | LiveReader
        if writer is None:
            self._reader = ShardReader(self._held.path)
        else:
            self._scratch = shards.scratch(self._name)  # locked as long as this process lives
            self._reader = LiveReader(self._held.path, self._scratch.path, ActorWriter(writer))
        self._reader.newest.warm()
        host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._server = ReplicaServer(self._reader, host, name=f"{application} {self._name}", sticky=writer is not None)
        self._ended = threading.Event()
        self._directory = directory(ray)
        self._report()
        threading.Thread(target=self._report_on, name="shard-reports", daemon=True).start()

    def __del__(self) -> None:
        """Serve ends the replica: routers are told first, and what is in flight is answered."""
        with contextlib.suppress(Exception):
            self._ended.set()
            self._directory.leave.remote(self._application, self._name)
            self._server.close(_DRAIN_SECONDS)
            self._reader.close()

    def check_health(self) -> None:
        """Raise where the shard cannot be read any more; Ray Serve then replaces the replica."""
        damage = self._reader.newest.describe().damage
        if damage:
            raise LsrError(f"{damage[0].path}: {damage[0].reason}")

    def _report(self) -> None:
        self._directory.report.remote(self._application, self._name, self._server.address)

    def _report_on(self) -> None:
        import ray

        while not self._ended.wait(REPORT_SECONDS):
            try:
                self._report()
            except Exception as error:  # the directory is restarted, or gone with the router that started it
                _logger.warning("the directory does not answer (%r): it is started again", error)
                with contextlib.suppress(Exception):
                    self._directory = directory(ray)
