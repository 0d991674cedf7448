"""Follows what the command line changes in the aliases of a running service, see CollectionStore.follow.

One thread looks at aliases.json once per second. The collection that an alias stands for now is opened and warmed
before the alias is followed, so no request waits for it.
"""

from __future__ import annotations

import logging
import threading

from lsr.store import CollectionStore

_logger = logging.getLogger("lsr.service")

SECONDS = 1.0


class AliasWatcher:
    """Watches the aliases of a store from `start` to `stop`."""

    def __init__(self, store: CollectionStore, interval: float = SECONDS) -> None:
        """`interval` in seconds."""
        self._store = store
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: dict[str, str] = {}

    def start(self) -> None:
        """Begin to watch."""
        if not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="lsr-aliases", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                failed = {name: str(error) for name, error in self._store.follow().items()}
            except Exception:
                _logger.exception("following the aliases")
                continue
            for name, reason in failed.items():
                if self._told.get(name) != reason:
                    _logger.error("the alias %s is not followed: %s", name, reason)
            self._told = failed
