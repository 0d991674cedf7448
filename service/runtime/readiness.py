"""Readiness: the service is ready when collections are open, encoders loaded and kernels compiled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import perf_counter

from index import warm_kernels
from lsr.errors import EXPECTED_ERRORS, CollectionNotFound
from lsr.storage.collection_folders import printable
from lsr.store import CollectionStore
from service.problems import ProblemError
from service.runtime.bound_store import BoundStore, Store

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
        """Call `call` once, in the warming thread, when the service is ready or has failed."""
        self._call_when_settled = call

    def require(self) -> None:
        """Raise a 503 problem unless the service is ready."""
        if self.status != "ready":
            raise ProblemError(
                503,
                "not-ready",
                "Not ready",
                f"the service is {self.status}: it opens collections, loads encoders and compiles kernels"
                if self.status == "starting"
                else f"the service is {self.status}",
                headers={"Retry-After": "1"},
            )

    def broken(self, store: Store) -> dict[str, str]:
        """Return the collections that cannot be used, and why."""
        cold = {
            name: why for name, why in self._broken.items() if not isinstance(store, BoundStore) or store.sees(name)
        }
        return cold | {name: str(error) for name, error in store.broken.items()}

    def require_usable(self, store: Store) -> None:
        """Raise a 503 problem unless the service is ready, and can use one of its collections if it has any."""
        self.require()
        broken = self.broken(store)
        failed = [name for name in broken if not isinstance(store.broken.get(name), CollectionNotFound)]
        if failed and not set(store.names()) - set(broken):
            raise ProblemError(
                503,
                "not-ready",
                "Not ready",
                f"none of the {len(failed)} collections can be used; GET /v1/collections and the log say why",
                headers={"Retry-After": "5"},
            )

    def warm(self, store: CollectionStore) -> None:
        """Compile the kernels and warm every collection, then become ready; a collection that fails is left out."""
        started = perf_counter()
        for folder, reason in store.left_out.items():
            _logger.warning("the folder %s is not served: %s", folder, reason)
        for name, reason in store.read_only.items():
            _logger.warning("collection %s is served for reading only: %s", name, reason)
        for name, error in store.broken.items():
            _logger.error("collection %s is left out: %s", name, error)
        for name, folder in store.renamed.items():
            _logger.warning("the folder %s is served under the name %s", printable(folder), name)
        _logger.info("warming up; the first start on a machine compiles the search kernels, which can take a minute")
        try:
            warm_kernels()  # also without segments: an empty collection may get one later
            for name in store.names():
                if self.status == "stopping":
                    return
                self._warm_one(store, name)
        except Exception as error:  # a bug: the operator must see the error, not a service that hangs
            self.failure = error
        if self.status == "starting":
            self.status = "failed" if self.failure else "ready"
            _logger.info("%s after %.1f s, %d collections", self.status, perf_counter() - started, len(store.names()))
        self._settled.set()
        if self._call_when_settled is not None:
            self._call_when_settled()

    def forget(self, name: str) -> None:
        """Forget the error of a collection that was dropped."""
        self._broken.pop(name, None)

    def wait(self, seconds: float) -> bool:
        """Wait until the service is ready or has failed; return whether it is ready."""
        return self._settled.wait(seconds) and self.failure is None

    def stop(self) -> None:
        """Refuse requests from now on."""
        self.status = "stopping"

    def _warm_one(self, store: CollectionStore, name: str) -> None:
        try:
            collection = store.get(name)
            collection.warm()
            for note in collection.info().notes:
                _logger.warning("collection %s: %s", name, note)
        except EXPECTED_ERRORS as error:
            _logger.error("collection %s is left out: %s", name, error)
            self._broken[name] = str(error)
        except Exception:
            _logger.exception("collection %s is left out", name)
            self._broken[name] = "an unexpected error; the log has details"
