"""The settings of a service, including the limits that protect it. `lsr serve` fills them in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from lsr import settings as lsr_settings
from lsr.errors import SettingsError
from service.auth import ApiKey

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-fA-F:]+\](:\d{1,5})?")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ServiceSettings:
    """Limits and keys of one service. The defaults suit one machine; see
    docs/decisions/0500-one-process-threads-and-a-bounded-queue.md."""

    api_keys: tuple[ApiKey, ...] = ()
    """Without a key every caller has all rights, so the server then binds to a loopback address only."""

    allowed_hosts: frozenset[str] | None = None
    """Host names that requests may be addressed to; None: all. Stops DNS rebinding on a keyless loopback address."""

    encoders: frozenset[str] = frozenset(lsr_settings.BUILT_IN_ENCODERS)
    """Encoders for collections created over HTTP. Paths and downloads are left to the operator."""

    default_encoder: str = field(default_factory=lambda: lsr_settings.DEFAULT_ENCODER)
    """The encoder of a collection that is created without one; always allowed."""

    search_threads: int = field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2))
    """Concurrent searches; half the cores, because the event loop and the searches' Python code share one lock."""

    search_queue: int = 32
    """Searches that may wait for a thread; further ones get a 429."""

    quick_search_ms: float = 2.0
    """Searches that take less processor time run on the event loop, see search_turns.py; 0: none."""

    write_queue: int = 256
    """Write requests that may wait or run; further ones get a 429."""

    write_queue_bytes: int = 256 * MEBIBYTE
    """The total size of these requests."""

    write_wait: float = 10.0
    """Seconds that a write request waits for its result before it gets a 202 with a job."""

    max_body: int = 32 * MEBIBYTE
    """Bytes of a request's body, counted as they arrive."""

    max_headers: int = 100
    """Headers of a request, and trailers of its body; beyond it 431."""

    max_header_bytes: int = 64 * 1024
    """Bytes of a request's headers with its request line; beyond it 431."""

    max_bodies: int = 256 * MEBIBYTE
    """Total bytes of the bodies of all requests in flight; a request that exceeds it gets a 429."""

    default_timeout_ms: int = 10_000

    scrub_hours: float = 24.0
    """Hours from the end of one scrub (reading all files to find damage) to the next; 0: never."""

    scrub_bytes_per_second: float = 32.0 * MEBIBYTE
    """The speed of a scrub, limited so that it takes neither the disk nor a core from searches."""

    slow_query_ms: float = 500.0
    """Slower searches are logged (without any text)."""

    header_timeout: float = 10.0
    """Seconds for a client to send a request's headers, counted from the connection or the request's first byte."""

    body_timeout: float = 60.0
    """Seconds for a client to send a request's body."""

    root_path: str = ""
    """The path prefix under which a proxy offers the service, such as `/search`; with or without it in a request."""

    cors_origins: tuple[str, ...] = ()
    """Origins such as `https://example.org` whose pages may call the service from a browser; others may not."""

    access_log: bool = False
    """Whether every request is logged: method, path, status, time, bytes, id; no query and no body."""

    keep_alive: float = 30.0
    """Seconds that an idle connection stays open."""

    shutdown_timeout: float = 15.0
    """Seconds for requests in flight to finish when the service stops."""

    def __post_init__(self) -> None:
        """Check the settings that are texts. Raises SettingsError."""
        object.__setattr__(self, "root_path", self.root_path.rstrip("/"))
        if not _ROOT_PATH.fullmatch(self.root_path):
            raise SettingsError(f"root_path: {self.root_path!r} is not a path such as /search")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    f"cors_origin: {origin!r} is not an origin such as https://example.org (no path, no *)"
                )


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the origins of a list with commas."""
    return tuple(origin.strip() for origin in text.split(",") if origin.strip())
