"""Memory that is free goes back to the system.

What a burst of writes has used lies between what is still in use, and glibc keeps it for later, in a heap for each
thread. After hours of writes a service holds tens of megabytes that nothing uses.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def return_free_memory() -> None:
    """Give back whole free pages; where the C library cannot (it is not glibc), do nothing."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
