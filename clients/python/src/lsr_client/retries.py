"""When a failed call is repeated, and after which pause."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass

import httpx

FULL = (429, 503)  # nothing was done, and a later try may succeed


@dataclass(frozen=True)
class Retries:
    """`attempts` in all, within `seconds`; the pause starts at `first` seconds and doubles up to `longest`."""

    attempts: int = 6
    seconds: float = 120.0
    first: float = 0.25
    longest: float = 20.0


class Attempts:
    """The attempts of one call."""

    def __init__(self, retries: Retries, *, repeatable: bool) -> None:
        """`repeatable` calls may be done twice, so they are repeated where an answer was lost."""
        self._retries = retries
        self._repeatable = repeatable
        self._begun = time.monotonic()
        self._made = 0

    def pause_after(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """Return the seconds to wait before the next attempt; None where this outcome is final."""
        self._made += 1
        if self._made >= self._retries.attempts or not self._is_worth_it(outcome):
            return None
        pause = self._retries.first * 2 ** (self._made - 1)
        pause = min(pause, self._retries.longest) * random.uniform(
            0.5, 1.0
        )  # so that clients do not come back together
        if isinstance(outcome, httpx.Response):
            pause = max(pause, retry_after(outcome) or 0.0)
        return pause if time.monotonic() - self._begun + pause <= self._retries.seconds else None

    def _is_worth_it(self, outcome: httpx.Response | httpx.TransportError) -> bool:
        if isinstance(outcome, httpx.Response):
            return outcome.status_code in FULL
        return self._repeatable or isinstance(outcome, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of the header Retry-After, a number or a date; None without a valid one."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
