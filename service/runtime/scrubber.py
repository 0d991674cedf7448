"""The background reader of a service: every file of every collection is compared with its checksum, over and over.

One thread goes through the collections, one file after another, slowly: it reads `scrub_bytes_per_second` at most, and
hashing them takes a few per cent of one core. A pass begins when the service is ready, `scrub_hours` after
the former one ended, or at once when a search met damage. What is found damaged is taken out by the collection
(lsr/upkeep/scrubbing.py); /readyz, the collection and the metrics name it.
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
    """The service stops in the middle of a pass."""


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
        """Begin the first pass."""
        if self._interval > 0 and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="lsr-scrub", daemon=True)
            self._thread.start()

    def look_now(self) -> None:
        """Begin the next pass at once: somebody met damage."""
        self._wake.set()

    def stop(self) -> None:
        """Stop, in the middle of a file too, and wait for it."""
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
            except EXPECTED_ERRORS as error:  # dropped in between, or a disk that does not answer
                _logger.warning("scrubbing collection %s: %s", name, error)
            except Exception:
                _logger.exception("scrubbing collection %s", name)

    def _read(self, count: int) -> None:
        """Wait as long as reading `count` bytes may take at the allowed rate."""
        self._metrics.scrubbed_bytes.inc(count)
        self._due = max(self._due, monotonic() - 1) + count / self._bytes_per_second
        if self._stop.wait(max(0.0, self._due - monotonic())):
            raise _Stopped
