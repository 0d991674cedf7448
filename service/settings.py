"""What can be set about a running service, with the limits that protect it. `lsr serve` fills it in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from lsr import vectors
from service.auth import ApiKey

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ServiceSettings:
    """Limits and keys of one service. The defaults suit one machine; see docs/decisions/0500."""

    api_keys: tuple[ApiKey, ...] = ()
    """Without a key every caller may do everything, so the server then binds to a loopback address only."""

    allowed_hosts: frozenset[str] | None = None
    """Host names that a request may be addressed to, or None for all. Stops DNS rebinding on a keyless loopback."""

    encoders: frozenset[str] = frozenset({"bm25", "lsr-mini"})
    """Encoders that a collection may be created with over HTTP: a path or a download is the operator's business."""

    default_encoder: str = field(default_factory=lambda: vectors.DEFAULT_ENCODER)
    """The encoder of a collection that is created without one; offered as well."""

    search_threads: int = field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2))
    """Searches at a time; half the cores, since the event loop and the searches' Python share one lock."""

    search_queue: int = 32
    """Searches that may wait for a thread; one more is answered 429."""

    quick_search_ms: float = 2.0
    """Searches that take less processor time run on the event loop, see search_turns.py; 0: none does."""

    write_queue: int = 256
    """Write requests that may wait or run; one more is answered 429."""

    write_queue_bytes: int = 256 * MEBIBYTE
    """Bytes that these may have together."""

    write_wait: float = 10.0
    """Seconds that a write request waits for its result before it is answered 202 with a job to ask about."""

    max_body: int = 32 * MEBIBYTE
    """Bytes of a request's body, counted as they come in."""

    max_bodies: int = 256 * MEBIBYTE
    """Bytes of the bodies of all requests in flight; beyond it a request that brings more is answered 429."""

    default_timeout_ms: int = 10_000

    scrub_hours: float = 24.0
    """Hours from the end of one reading of all files, to find damage, to the next; 0: never."""

    scrub_bytes_per_second: float = 32.0 * MEBIBYTE
    """How fast that reading goes, so that it takes neither the disk nor a core from searches."""

    slow_query_ms: float = 500.0
    """Searches slower than this are logged (without any text)."""

    header_timeout: float = 10.0
    """Seconds in which a client must have sent a request's headers, counted from its first byte or the connection."""

    body_timeout: float = 60.0
    """Seconds in which a client must have sent a request's body."""

    keep_alive: float = 30.0
    """Seconds that an idle connection is kept."""

    shutdown_timeout: float = 15.0
    """Seconds that requests in flight are given when the service is told to stop."""
