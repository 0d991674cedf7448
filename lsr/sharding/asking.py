"""Asking shards: how a router reaches one, and one question to several of them at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from index.errors import SearchStopped
from lsr.errors import ShardUnavailable
from lsr.results import Damage

# Waits for the answer; raises ShardUnavailable, SearchStopped, and what the operation raises.
Answer = Callable[[], Any]
TRACE: ContextVar[str] = ContextVar("trace", default="")  # W3C's traceparent of the request in this thread


@dataclass(slots=True)
class Pin:
    """Which documents of a shard one search reads: all its questions get answers from the same version of them.

    least    the version that the first answer must have reached; the first answer sets the two below
    version  the version of all further answers
    replica  which replica has it, where not every one has
    """

    least: int = 0
    version: int | None = None
    replica: object | None = None
    trace: str = ""


class VersionGone(Exception):
    """A shard has no longer the version that a search began with: the search starts again."""


class Shard(Protocol):
    """A shard as its router sees it."""

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        ...

    def begin(self, operation: str, arguments: Sequence[Any], seconds: float | None, pin: Pin) -> Answer:
        """Send an operation (see shard.py) and return what waits for its answer, which sets the pin."""
        ...

    def close(self) -> None:
        """Release what reaching it took."""
        ...


class Reads(Protocol):
    """What answers a shard's operations: a ShardReader, or a LiveReader."""

    def answer(
        self, operation: str, arguments: Sequence[Any], seconds: float | None, version: int | None, least: int
    ) -> tuple[Any, int]:
        """Run an operation; return its result and the version of the documents that it read; raises VersionGone."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


class LocalShard:
    """A shard that is opened in this process."""

    def __init__(self, name: str, reader: Reads) -> None:
        """`reader` is closed with the shard."""
        self.name = name
        self._reader = reader

    def begin(self, operation: str, arguments: Sequence[Any], seconds: float | None, pin: Pin) -> Answer:
        """Run the operation when the answer is waited for."""

        def answer() -> Any:
            found, pin.version = self._reader.answer(operation, arguments, seconds, pin.version, pin.least)
            return found

        return answer

    def close(self) -> None:
        """Close the collection."""
        self._reader.close()


class Inquiry:
    """The questions of one search: its time, and which shards are left out of it.

    A search that accepts a partial answer leaves out a shard that does not answer in time, or at all, for the rest of
    its stages; another one fails. Used by one thread.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        documents: Sequence[int],
        *,
        timeout_ms: float | None = None,
        accepts_partial: bool = False,
        missing: Mapping[int, str] | None = None,
        least: Sequence[int] = (),
    ) -> None:
        """`documents` are the shards' document counts; `missing` names those that are left out already, and why.

        least  the version of each shard that its first answer must have reached
        """
        self.shards = shards
        self.accepts_partial = accepts_partial
        self.missing: dict[int, str] = dict(missing or {})
        self._documents = documents
        trace = TRACE.get()
        self.on_version: Callable[[int, int], None] | None = None  # called with a shard's number and the version read
        self._pins = [Pin(one, trace=trace) for one in least or (0,) * len(shards)]
        self._end = None if timeout_ms is None else time.monotonic() + timeout_ms / 1e3

    @property
    def seconds(self) -> float | None:
        """The time left, None without a limit. Raises SearchStopped when it is over."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise SearchStopped("the search was stopped before it was done")
        return left

    @property
    def asked(self) -> list[int]:
        """The numbers of the shards that are not left out."""
        return [at for at in range(len(self.shards)) if at not in self.missing]

    @property
    def versions(self) -> list[int]:
        """The version of each shard that was read; 0 where it was not asked."""
        return [pin.version or 0 for pin in self._pins]

    @property
    def damage(self) -> tuple[Damage, ...]:
        """The documents that are out of reach."""
        return tuple(
            Damage(Path(self.shards[at].name), reason, self._documents[at], "a missing shard")
            for at, reason in sorted(self.missing.items())
        )

    def ask(self, operation: str, arguments: Mapping[int, Sequence[Any]], *, first: bool = False) -> dict[int, Any]:
        """Return each shard's answer by its number, for the shards in `arguments` that are not left out.

        first  no document of any shard is in the ranking yet: a late shard can be left out in place; it gets most of
               the time, so that some is left for the stages that follow

        Raises ShardUnavailable, SearchStopped, and what the operation raises.
        """
        return self.begin(operation, arguments, first=first)()

    def begin(
        self, operation: str, arguments: Mapping[int, Sequence[Any]], *, first: bool = False
    ) -> Callable[[], dict[int, Any]]:
        """Send an operation, and return what waits for the answers. Raises as `ask`."""
        seconds = self.seconds
        if first and self.accepts_partial and seconds is not None:
            seconds *= FIRST_SHARE
        begun = {
            at: self.shards[at].begin(operation, given, seconds, self._pins[at])
            for at, given in arguments.items()
            if at not in self.missing
        }

        def gather() -> dict[int, Any]:
            found: dict[int, Any] = {}
            for at, answer in begun.items():
                try:
                    found[at] = answer()
                    if self.on_version is not None:
                        self.on_version(at, self._pins[at].version or 0)
                except ShardUnavailable as error:
                    self._leave_out(at, error, str(error), first=first)
                except SearchStopped as error:
                    self._leave_out(at, error, "it did not answer in time", first=first)
            return found

        return gather

    def _leave_out(self, at: int, error: Exception, reason: str, *, first: bool) -> None:
        if not self.accepts_partial:
            raise error
        self.missing[at] = reason
        if not first:
            raise ShardLost(at, reason)


class ShardLost(Exception):
    """A shard of which documents are in a ranking already does not answer any more: the search starts again."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


FIRST_SHARE = 0.7  # of a search's time that a first stage may take
