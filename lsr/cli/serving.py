"""What `lsr serve` and `lsr demo` share: the service's settings, its log, and the line that says it is ready."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from lsr.settings import Settings

if TYPE_CHECKING:
    from service.settings import ServiceSettings


def service_settings(settings: Settings) -> ServiceSettings:
    """Return the service's settings, with those that the user has set."""
    from service.settings import ServiceSettings

    names = ("search_threads", "search_queue", "quick_search_ms", "slow_query_ms", "scrub_hours")
    chosen = {name: getattr(settings, name) for name in names} | {"default_encoder": settings.encoder}
    return ServiceSettings(**{name: value for name, value in chosen.items() if value is not None})


def log_to_stderr() -> None:
    """Send the service's log to stderr, a line an event."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its information repeats ours


def announce(url: str) -> None:
    """Print the URL on stdout; scripts wait for this line."""
    print(url, flush=True)
