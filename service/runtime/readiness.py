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
    """`starting`, then `ready` (or `failed`, with `failure`), at the end `stopping`."""

    def __init__(self) -> None:
        self.status = "starting"
        self._broken: dict[str, str] = {}
        self.failure: Exception | None = None
        self._settled = threading.Event()
        self._call_when_settled: Callable[[], None] | None = None

    def on_settled(self, call: Callable[[], None]) -> None:
        """Have `call` called once, in the warming thread, when the service is ready or has failed to become so."""
        self._call_when_settled = call

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
        """Compile the kernels, warm every collection, then be ready; one that fails is remembered and left out."""
        started = perf_counter()
        _logger.info("warming; the first start on a machine compiles the search kernels, which can take a minute")
        try:
            warm_kernels()  # a collection that is empty now will have a segment later
            for name in store.names():
                if self.status == "stopping":
                    return
                self._warm_one(store, name)
        except Exception as error:  # a bug of ours: whoever runs the server shall see it, not a service that hangs
            self.failure = error
        if self.status == "starting":
            self.status = "failed" if self.failure else "ready"
            _logger.info("%s after %.1f s, %d collections", self.status, perf_counter() - started, len(store.names()))
        self._settled.set()
        if self._call_when_settled is not None:
            self._call_when_settled()

    def forget(self, name: str) -> None:
        """A collection is gone, and with it what was wrong with it."""
        self._broken.pop(name, None)

    def wait(self, seconds: float) -> bool:
        """Wait until the service is ready or has failed to become so; return whether it is ready."""
        return self._settled.wait(seconds) and self.failure is None

    def stop(self) -> None:
        """Say no from now on."""
        self.status = "stopping"

    def _warm_one(self, store: CollectionStore, name: str) -> None:
        try:
            store.get(name).warm()
        except EXPECTED_ERRORS as error:
            _logger.error("collection %s is left out: %s", name, error)
            self._broken[name] = str(error)
        except Exception:
            _logger.exception("collection %s is left out", name)
            self._broken[name] = "an error that nobody foresaw; the log has more"
