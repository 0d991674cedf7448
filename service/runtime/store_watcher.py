"""Follows what other processes change in the folder of a running service, see CollectionStore.follow and take_locks.

One thread looks at the folder twice per second: new collections, aliases, what another service has written. Four times
per second it tries to get the locks of the collections that are served for reading only, so that a service which was
started before the former one ended can write as soon as that has ended. A collection is opened and warmed before it is
used, so no request waits for it.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from lsr.errors import CollectionNotFound
from lsr.store import CollectionStore

_logger = logging.getLogger("lsr.service")

SECONDS: Final = 0.25
_LOOKS: Final = 2  # turns from one look at the folder to the next


class StoreWatcher:
    """Watches the folder of a store from `start` to `stop`."""

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
            self._thread = threading.Thread(target=self._run, name="lsr-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        turn = 0
        while not self._stop.wait(self._interval):
            turn += 1
            try:
                for name in self._store.take_locks():
                    _logger.info("collection %s can be written here from now on", name)
                if turn % _LOOKS == 0:
                    self._look()
            except Exception:
                _logger.exception("watching the collections")

    def _look(self) -> None:
        read_only = self._store.read_only
        followed = self._store.follow()
        for name in followed.gone:
            _logger.info("collection %s: its folder is gone", name)
        for name in followed.opened:
            _logger.info("collection %s is served", name)
        for name, reason in self._store.read_only.items():
            if name not in read_only:
                _logger.warning("collection %s is served for reading only: %s", name, reason)
        for folder, reason in followed.left_out.items():
            _logger.warning("the folder %s is not served: %s", folder, reason)
        told = {f"the alias {name} is not followed": error for name, error in followed.failed.items()}
        told |= {f"collection {name} is left out": error for name, error in self._store.broken.items()}
        for what, error in told.items():
            if self._told.get(what) != str(error):
                # A collection that is being indexed is no fault.
                _logger.log(
                    logging.INFO if isinstance(error, CollectionNotFound) else logging.ERROR, "%s: %s", what, error
                )
        self._told = {what: str(error) for what, error in told.items()}
