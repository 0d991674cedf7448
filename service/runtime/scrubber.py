"""The background scrubber of a service: it regularly compares every file of every collection with its checksum.

One thread reads the collections, file by file, slowly: at most `scrub_bytes_per_second`, and hashing takes a few per
cent of one core. A pass starts when the service is ready, `scrub_hours` after the end of the previous one, or at once
if a search has found damage. The collection takes damaged segments out of use (lsr/upkeep/scrubbing.py); /readyz, the
collection and the metrics report them.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic

from lsr.errors import EXPECTED_ERRORS
from lsr.store import CollectionStore
from service.metrics import ServiceMetrics

_logger = logging.getLogger("lsr.service")


class _Stopped(Exception):
    """The service stops during a pass."""


class Scrubber:
    """Scrubs the collections of a store from `start` to `stop`."""

    def __init__(
        self, store: CollectionStore, interval: float, bytes_per_second: float, metrics: ServiceMetrics
    ) -> None:
        """`interval` in seconds; 0: never."""
        self._store = store
        self._interval = interval
        self._bytes_per_second = bytes_per_second
        self._metrics = metrics
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the first pass."""
        if self._interval > 0 and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="lsr-scrub", daemon=True)
            self._thread.start()

    def look_now(self) -> None:
        """Start the next pass at once, because a request has found damage."""
        self._wake.set()

    def stop(self) -> None:
        """Stop, even in the middle of a file, and wait for the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._pass()
            except _Stopped:
                return
            self._metrics.scrub_passes.inc()
            self._wake.wait(self._interval)

    def _pass(self) -> None:
        self._due = monotonic()
        for name in self._store.names():
            try:
                self._store.get(name).scrub(self._read)
            except _Stopped:
                raise
            except EXPECTED_ERRORS as error:  # dropped meanwhile, or the disk does not respond
                _logger.warning("scrubbing collection %s: %s", name, error)
            except Exception:
                _logger.exception("scrubbing collection %s", name)

    def _read(self, count: int) -> None:
        """Wait so that reading `count` bytes stays below the allowed rate."""
        self._metrics.scrubbed_bytes.inc(count)
        self._due = max(self._due, monotonic() - 1) + count / self._bytes_per_second
        if self._stop.wait(max(0.0, self._due - monotonic())):
            raise _Stopped
