"""Threads for blocking work, behind a bounded queue.

The event loop only reads requests and writes answers. Everything that takes time (a search, a write, opening a
collection) runs here. With an unbounded queue, overload would make all requests wait longer and longer; this queue
refuses at once when it is full (429), so accepted requests are still answered in time.

Jobs that are known to be short may run on the event loop instead, in turns (search_turns.py decides which): that avoids
passing the interpreter's lock to a thread and back. Between two checks of the sockets one such job runs, or as many as
fit into twice the time of the last check: even while most requests are refused, the accepted ones get most of the time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from time import perf_counter
from typing import Final, TypeVar

from service.problems import Overloaded, TimedOut

T = TypeVar("T")

_TURNS_TO_CHECKS: Final = 2.0
_LONGEST_TURNS: Final = 0.02  # seconds until the sockets are checked again, plus the last job


class WorkPool:
    """`threads` workers and places for `queue_limit` waiting jobs. `run` is called on the event loop only."""

    def __init__(
        self,
        name: str,
        threads: int,
        queue_limit: int,
        *,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self._name = name
        self._capacity = threads + queue_limit
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"lsr-{name}")
        self._on_wait = on_wait
        self._in_flight = 0
        self._turns: deque[Callable[[], None]] = deque()
        self._turns_ended = 0.0

    @property
    def in_flight(self) -> int:
        """Jobs that wait or run."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        return max(0, self._in_flight - self._threads)

    def submit(self, job: Callable[[], T], *, timeout_ms: float | None = None) -> asyncio.Future[T]:
        """Queue `job` and return its future.

        Raises Overloaded if the queue is full. The future ends with TimedOut if the job did not get a thread within
        `timeout_ms`; a job that has started is not interrupted.
        """
        work = self._admitted(job, timeout_ms)
        return self._counted(asyncio.get_running_loop().run_in_executor(self._executor, work))

    def take_turn(self, job: Callable[[], T], *, timeout_ms: float | None = None) -> asyncio.Future[T]:
        """Like `submit`, but run the job on the event loop, when its turn comes."""
        work = self._admitted(job, timeout_ms)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def turn() -> None:
            if future.done():  # the caller was cancelled
                return
            try:
                result = work()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._turns.append(turn)
        if len(self._turns) == 1:
            self._turns_ended = perf_counter()
            loop.call_soon(self._take_turns)
        return self._counted(future)

    async def run(self, job: Callable[[], T], *, timeout_ms: float | None = None) -> T:
        """Queue `job`, wait for it and return its result; see `submit`.

        If the caller is cancelled, the job continues and still counts.
        """
        return await asyncio.shield(self.submit(job, timeout_ms=timeout_ms))

    def close(self) -> None:
        """Drop the waiting jobs, and wait for the running ones."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _admitted(self, job: Callable[[], T], timeout_ms: float | None) -> Callable[[], T]:
        """Return a function that runs the job unless it has waited too long; raises Overloaded."""
        if self._in_flight >= self._capacity:
            raise Overloaded(self._name)
        queued = perf_counter()
        context = copy_context()  # the request's trace

        def work() -> T:
            waited = perf_counter() - queued
            if self._on_wait is not None:
                self._on_wait(waited)
            if timeout_ms is not None and waited * 1000.0 >= timeout_ms:
                raise TimedOut(timeout_ms)
            return context.run(job)

        return work

    def _counted(self, future: asyncio.Future[T]) -> asyncio.Future[T]:
        self._in_flight += 1
        future.add_done_callback(self._finished)
        return future

    def _take_turns(self) -> None:
        began = perf_counter()
        until = began + min(_TURNS_TO_CHECKS * (began - self._turns_ended), _LONGEST_TURNS)
        self._turns.popleft()()
        while self._turns and perf_counter() < until:
            self._turns.popleft()()
        if self._turns:
            self._turns_ended = perf_counter()
            asyncio.get_running_loop().call_soon(self._take_turns)

    def _finished(self, future: asyncio.Future[T]) -> None:
        self._in_flight -= 1
        if not future.cancelled():
            future.exception()  # otherwise asyncio reports an abandoned job's error as "never retrieved"
