"""Returns free memory to the system.

The memory that a burst of writes has freed lies between blocks still in use, and glibc keeps it, in one heap per
thread. After hours of writes a service holds tens of megabytes that it does not use.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def return_free_memory() -> None:
    """Return whole free pages to the system; do nothing if the C library is not glibc."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
