"""Learned sparse retrieval: encode, index, search, evaluate.

Users import only this package. Each name is loaded at its first use (PEP 562), so that `import lsr` and `lsr --help`
stay fast although some of the names need PyTorch or Numba.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsr.own_packages import load_own_packages

if TYPE_CHECKING:
    from encoders import load_encoder
    from eval import evaluate
    from index import IndexConfig, SparseIndex
    from lsr.collection import Collection

__version__ = "0.1.0"
__all__ = ["Collection", "IndexConfig", "SparseIndex", "__version__", "evaluate", "load_encoder"]

load_own_packages(Path(__file__).resolve().parent.parent)

_HOMES = {
    "Collection": "lsr.collection",
    "IndexConfig": "index",
    "SparseIndex": "index",
    "evaluate": "eval",
    "load_encoder": "encoders",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lsr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
