"""The replicas of a shard, as Ray Serve runs them: each opens the shard from its cache and answers a router.

A replica is started for one folder of one generation, so whatever is published later, it answers from the documents
that its router knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from index.errors import SearchStopped
from lsr.errors import EXPECTED_ERRORS, LsrError, QueryError, ShardUnavailable, UnknownField
from lsr.sharding.cache import ShardCache
from lsr.sharding.manifest import FolderEntry
from lsr.sharding.places import place_of
from lsr.sharding.shard import ShardReader

_THREADS: Final = 4  # of one replica


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


class Replica:
    """One replica of a shard."""

    def __init__(self, uri: str, entry: FolderEntry, cache: str, cache_bytes: int) -> None:
        """Fill the cache, open the shard, warm it; raises what these raise."""
        self._held = ShardCache(Path(cache), cache_bytes).open(place_of(uri), entry)
        self._reader = ShardReader(self._held.path)
        self._reader.warm()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="shard")

    async def run(self, operation: str, arguments: Sequence[Any], seconds: float | None) -> Any:
        """Run an operation; return its result, or a Refusal."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, operation, arguments, seconds)

    def check_health(self) -> None:
        """Raise where the shard cannot be read any more; Ray Serve then replaces the replica."""
        damage = self._reader.describe().damage
        if damage:
            raise LsrError(f"{damage[0].path}: {damage[0].reason}")

    def _run(self, operation: str, arguments: Sequence[Any], seconds: float | None) -> Any:
        try:
            return self._reader.run(operation, arguments, seconds)
        except EXPECTED_ERRORS as error:
            return Refusal(type(error).__name__, str(error), getattr(error, "field", None))
