"""The router's side of a shard: a request to one of its replicas, with a deadline, sent again where a replica dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from index.errors import SearchStopped
from lsr.errors import ShardUnavailable
from lsr.sharding.asking import Answer
from service.cluster.replicas import Refusal

_logger = logging.getLogger("lsr.cluster")
_PATIENCE_SECONDS: Final = 30.0  # of an operation that has no deadline


class ReplicatedShard:
    """A shard with several replicas behind a Ray Serve handle. Safe to use from many threads."""

    def __init__(self, name: str, handle: Any) -> None:
        """`handle` is Ray Serve's, of the shard's deployment."""
        self.name = name
        self._handle = handle

    def begin(self, operation: str, arguments: Sequence[Any], seconds: float | None) -> Answer:
        """Send an operation to a replica, and return what waits for its answer."""
        began = time.monotonic()
        limit = _PATIENCE_SECONDS if seconds is None else seconds
        first = self._handle.run.remote(operation, tuple(arguments), seconds)

        def answer() -> Any:
            try:
                return self._answer(first, limit - (time.monotonic() - began), bounded=seconds is not None)
            except _Lost:
                left = limit - (time.monotonic() - began)
                _logger.warning("%s: a replica died with a request, which is sent again", self.name)
                again = self._handle.run.remote(operation, tuple(arguments), None if seconds is None else left)
                try:
                    return self._answer(again, left, bounded=seconds is not None)
                except _Lost as error:
                    raise ShardUnavailable(
                        f"{self.name} does not answer: two of its replicas died ({error})"
                    ) from error

        return answer

    def close(self) -> None:
        """Do nothing: the replicas belong to the cluster."""

    def _answer(self, response: Any, seconds: float, *, bounded: bool) -> Any:
        from ray.exceptions import RayActorError, RayError
        from ray.serve.exceptions import RayServeException

        try:
            found = response.result(timeout_s=max(seconds, 0.001))
        except TimeoutError as error:
            response.cancel()
            if bounded:
                raise SearchStopped("the search was stopped before it was done: a shard was late") from error
            raise ShardUnavailable(f"{self.name} does not answer: none of its replicas is ready") from error
        except RayActorError as error:
            raise _Lost(type(error).__name__) from error
        except (RayError, RayServeException) as error:
            first = (str(error).strip().splitlines() or [""])[-1]
            raise ShardUnavailable(f"{self.name} fails: {first}") from error
        if isinstance(found, Refusal):
            raise found.error(self.name)
        return found


class _Lost(Exception):
    """The replica died with the request."""
