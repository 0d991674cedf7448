"""Whether the service may be asked yet: its collections are open, its encoders loaded and its kernels compiled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import perf_counter

from index import warm_kernels
from lsr.errors import EXPECTED_ERRORS
from lsr.store import CollectionStore
from service.problems import ProblemError

_logger = logging.getLogger("lsr.service")


class Readiness:
    """`starting`, then `ready`, at the end `stopping`."""

    def __init__(self) -> None:
        self.status = "starting"
        self._broken: dict[str, str] = {}
        self._ready = threading.Event()
        self._call_when_ready: Callable[[], None] | None = None

    def on_ready(self, call: Callable[[], None]) -> None:
        """Have `call` called once, in the warming thread, when the service becomes ready."""
        self._call_when_ready = call

    def require(self) -> None:
        """Raise a 503 problem unless the service is ready."""
        if self.status != "ready":
            raise ProblemError(
                503,
                "not-ready",
                "Not ready",
                f"the service is {self.status}: collections are opened, encoders loaded, kernels compiled"
                if self.status == "starting"
                else f"the service is {self.status}",
                headers={"Retry-After": "1"},
            )

    def broken(self, store: CollectionStore) -> dict[str, str]:
        """Return the collections that cannot be used, and why."""
        return self._broken | {name: str(error) for name, error in store.broken.items()}

    def warm(self, store: CollectionStore) -> None:
        """Compile the kernels, warm every collection, then be ready. One that fails is remembered and stops no other."""
        started = perf_counter()
        warm_kernels()  # a collection that is empty now will have a segment later
        for name in store.names():
            if self.status == "stopping":
                return
            try:
                store.get(name).warm()
            except EXPECTED_ERRORS as error:
                _logger.error("collection %s is left out: %s", name, error)
                self._broken[name] = str(error)
            except Exception:
                _logger.exception("collection %s is left out", name)
                self._broken[name] = "an error that nobody foresaw; the log has more"
        if self.status == "starting":
            self.status = "ready"
            self._ready.set()
            if self._call_when_ready is not None:
                self._call_when_ready()
            _logger.info("ready after %.1f s, %d collections", perf_counter() - started, len(store.names()))

    def wait(self, seconds: float) -> bool:
        """Wait until the service is ready; return whether it is."""
        return self._ready.wait(seconds)

    def stop(self) -> None:
        """Say no from now on."""
        self.status = "stopping"
