"""The writes of a service: in order within each collection, with small writes joined into batches.

Each collection has its own queue, so a slow collection does not block others, and the writes of one collection take
effect in the order of their requests. Consecutive small upserts, from any number of requests, become one batch: encoded
together and committed together, with one fsync. A request is answered only when its own documents are durable.

The number and the bytes of waiting requests are limited; above the limits a write is refused with 429.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from lsr.collection import Collection
from lsr.part import Part
from lsr.upkeep.free_memory import return_free_memory
from service.problems import Overloaded, ProblemError
from service.runtime.writes import Upsert, upsert_together

Answer = dict[str, Any]
Target = Collection | Part
Change = Upsert | Callable[[Any], Answer]  # of the target that it is submitted with

_THREADS: Final = 4
_JOINED_BYTES: Final = 1 << 20  # upserts are joined up to this size
_JOINED_REQUESTS: Final = 64
_TRIM_SECONDS: Final = 2.0  # at least, between two returns of the memory that writes have freed


@dataclass
class QueuedWrite:
    """A waiting or running write; `future` receives its answer."""

    target: Target
    change: Change
    size: int
    future: Future[Answer] = field(default_factory=Future)


class WriteQueue:
    """Runs changes in its own threads. `submit` may be called from any thread."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._queues: dict[Collection, deque[QueuedWrite]] = {}
        self._bytes = 0
        self._requests = 0
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="lsr-writes")
        self._stopped = False
        self._trimmed = 0.0

    @property
    def waiting(self) -> int:
        """The number of waiting and running requests."""
        return self._requests

    def submit(self, target: Target, change: Change, size: int = 0) -> Future[Answer]:
        """Queue a change of a collection, or of a part of one, and return the future of its answer; `size` is in bytes.

        Raises Overloaded if a limit is reached.
        """
        write = QueuedWrite(target, change, size)
        collection = target.whole if isinstance(target, Part) else target
        with self._lock:
            if self._stopped:
                raise _stopping()
            if self._requests >= self._max_requests or (self._bytes and self._bytes + size > self._max_bytes):
                raise Overloaded("writes")
            self._requests += 1
            self._bytes += size
            queue = self._queues.get(collection)
            if queue is not None:
                queue.append(write)
            else:
                self._queues[collection] = deque([write])
                self._executor.submit(self._drain, collection)
        return write.future

    def close(self) -> None:
        """Finish the running batch; waiting requests, which were not acknowledged, are refused."""
        with self._lock:
            self._stopped = True
        self._executor.shutdown(wait=True)

    def _drain(self, collection: Collection) -> None:
        while batch := self._take(collection):
            wanted = [write for write in batch if write.future.set_running_or_notify_cancel()]
            if self._stopped:
                for write in wanted:
                    write.future.set_exception(_stopping())
            elif wanted:
                self._run(wanted)
            with self._lock:
                self._requests -= len(batch)
                self._bytes -= sum(write.size for write in batch)
        if monotonic() - self._trimmed >= _TRIM_SECONDS:
            self._trimmed = monotonic()
            return_free_memory()  # encoding a batch takes tens of megabytes, in a heap of this thread

    def _take(self, collection: Collection) -> list[QueuedWrite]:
        """Remove the next write, and the upserts that can be joined to it, from the queue; empty: the queue ends."""
        with self._lock:
            queue = self._queues[collection]
            if not queue:
                del self._queues[collection]
                return []
            batch = [queue.popleft()]
            size = batch[0].size
            while (
                queue
                and isinstance(batch[-1].change, Upsert)
                and isinstance(queue[0].change, Upsert)
                and queue[0].target is batch[0].target
                and len(batch) < _JOINED_REQUESTS
                and size + queue[0].size <= _JOINED_BYTES
            ):
                size += queue[0].size
                batch.append(queue.popleft())
            return batch

    def _run(self, batch: list[QueuedWrite]) -> None:
        target = batch[0].target
        try:
            upserts = [write.change for write in batch if isinstance(write.change, Upsert)]
            answers: list[Answer | Exception] = []
            if upserts:
                answers = upsert_together(target, upserts)
            else:
                answers = [write.change(target) for write in batch if not isinstance(write.change, Upsert)]
        except Exception as error:
            answers = [error] * len(batch)
        for write, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                write.future.set_exception(answer)
            else:
                write.future.set_result(answer)


def _stopping() -> ProblemError:
    return ProblemError(
        503, "not-ready", "Not ready", "the service is stopping; nothing was written", headers={"Retry-After": "1"}
    )
