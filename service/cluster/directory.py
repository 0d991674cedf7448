"""Which replicas there are and where they listen: an actor that they report to once per second.

Ray Serve starts, checks and replaces replicas. Requests do not pass through Serve, so routers ask here where to send
them. The directory keeps nothing that the next reports do not bring again.
"""

from __future__ import annotations

import time
from typing import Any, Final

from service.cluster.channel import Address
from service.cluster.connection import on_this_node

NAMESPACE: Final = "lsr"
NAME: Final = "lsr-directory"
REPORT_SECONDS: Final = 1.0
LOST_SECONDS: Final = 5.0  # without a report


class Directory:
    """An actor: replicas report, routers ask."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, tuple[Address, float]]] = {}  # application -> replica -> address, last report
        self._routers: dict[str, dict[str, float]] = {}  # application -> router -> when it asked last

    def report(self, application: str, replica: str, address: Address) -> None:
        """Note that a replica is alive."""
        self._known.setdefault(application, {})[replica] = (address, time.monotonic())

    def leave(self, application: str, replica: str) -> None:
        """Note that a replica accepts nothing more."""
        self._known.get(application, {}).pop(replica, None)

    def replicas(self, application: str, router: str) -> list[tuple[str, Address]]:
        """Return the replicas that have reported of late."""
        now = time.monotonic()
        self._routers.setdefault(application, {})[router] = now
        own = self._known.get(application, {})
        for name in [name for name, (_, seen) in own.items() if now - seen > LOST_SECONDS]:
            del own[name]
        return [(name, address) for name, (address, _) in sorted(own.items())]

    def last_look(self, application: str, router: str) -> float | None:
        """Return when another router has asked last for the application's replicas; `router` leaves.

        Seconds of a clock that only grows; None: not of late.
        """
        own = self._routers.get(application, {})
        own.pop(router, None)
        last = max(own.values(), default=None)
        return None if last is None or time.monotonic() - last > LOST_SECONDS else last


def directory(ray: Any) -> Any:
    """Return the cluster's directory, which is started where there is none: on this machine if that is possible.

    A router that starts it then never waits for it because another machine has died. It belongs to the cluster: it
    outlives the process that started it, and is not removed when that process drops its handle.
    """
    made = ray.remote(Directory).options(
        name=NAME, namespace=NAMESPACE, get_if_exists=True, lifetime="detached", num_cpus=0, max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=on_this_node(ray),
    )  # fmt: skip
    return made.remote()
