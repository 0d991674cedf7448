"""Which pages the kernel reads of a mapped file: a few at once, unless memory is too short for what is not asked for.

A page that is missing is read with those after it, which warms an index up quickly. Where an index does not fit in
memory, these push out pages that are in use, and nearly every search waits for the disk (docs/decisions/0128).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MEMINFO = Path("/proc/meminfo")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
# The limit and the use of a memory cgroup, of version 1 and 2.
_FILES = {"memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"), "": ("memory.max", "memory.current")}


def available_memory() -> int | None:
    """Return how many bytes of memory the process may still use, page cache included; None where that is not known."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None
    for folder, (limit, used) in _cgroups():
        try:
            # "max" is no number; page cache counts as used, so what is left may be more.
            available = min(available, int((folder / limit).read_text()) - int((folder / used).read_text()))
        except (OSError, ValueError):
            continue
    return max(0, available)


def _cgroups() -> Iterator[tuple[Path, tuple[str, str]]]:
    """Yield the process's memory cgroups, and those at the root, which are a container's own, with their files."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in _FILES:
            root = _CGROUPS / controllers
            yield root / path.lstrip("/"), _FILES[controllers]
            yield root, _FILES[controllers]


def advise_random(arrays: Iterable[NDArray[Any]]) -> None:
    """Let the kernel read no more of these mapped arrays than is asked for; arrays in memory are left alone."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
            base.madvise(mmap.MADV_RANDOM)
