"""Keeps pandas out of the service's process.

pyarrow imports pandas, if it is installed, when it first turns a list into an array: it asks whether the list is an
object of pandas. The import takes 45 MiB and a second. The service has no such objects.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

import pyarrow as pa


def do_without_pandas() -> None:
    """Let pyarrow find no pandas, which it looks for once; other code may still import it."""
    if "pandas" in sys.modules:
        return
    blocker = _Blocker()
    sys.meta_path.insert(0, blocker)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(blocker)


class _Blocker(MetaPathFinder):
    """Finds no pandas, and leaves everything else to the other finders."""

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for pandas."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used here", name=fullname)
        return None
