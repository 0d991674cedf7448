"""An encoder's name as it is stored with the vectors that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

BUILT_IN: Final = ("bm25", "lsr-mini")


def stored_name(encoder: str) -> str:
    """Return the name to store: a folder by its absolute path, for the collection is opened from other folders, too."""
    if encoder not in BUILT_IN and Path(encoder).is_dir():
        return str(Path(encoder).resolve())
    return encoder
