"""A cached kernel is used again only if no kernel file has changed since it was compiled.

Numba compares a cached kernel with its own file alone. Kernels here call functions of other files, which are compiled
into them: after an edit or an upgrade of one file, the machine code of the others would still read the old layout. So
the stamp that Numba keeps with each kernel is a hash over all kernel files. Where the cache is, and the cache of other
packages, is left to Numba. See docs/decisions/0117.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config
from numba.core import caching

_FOLDER = Path(__file__).parent
_NUMBAS_OWN = "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator,ZipCacheLocator"


@functools.lru_cache
def stamp_of(folder: Path) -> str:
    """Return the SHA-256 over the Python files of a folder, their names included."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class KernelCacheLocator:
    """Finds the place of a kernel's cache, as Numba does, and uses the stamp of all kernels."""

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Any:
        """Return Numba's locator of the function; None for one of another folder, or where no place is writable."""
        if Path(py_file).parent != _FOLDER:
            return None
        for name in _NUMBAS_OWN.split(","):
            found = getattr(caching, name).from_function(py_func, py_file)
            if found is not None:
                found.get_source_stamp = lambda: stamp_of(_FOLDER)
                return found
        return None


def use_for_kernels() -> None:
    """Register KernelCacheLocator as Numba's first locator; must be called before a kernel is decorated."""
    ours = f"{__name__}.{KernelCacheLocator.__name__}"
    config.CACHE_LOCATOR_CLASSES = f"{ours},{config.CACHE_LOCATOR_CLASSES or _NUMBAS_OWN}"  # type: ignore[attr-defined]
