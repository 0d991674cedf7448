"""A collection's folder as an argument: a folder of collections is told from no collection at all."""

from __future__ import annotations

from pathlib import Path

from lsr.errors import CollectionNotFound
from lsr.storage.layout import is_collection

SHOWN = 5


def one_collection(directory: Path) -> Path:
    """Return `directory`; raises CollectionNotFound, which names the collections inside if there are some."""
    if is_collection(directory):
        return directory
    if not directory.is_dir():
        raise CollectionNotFound(f"{directory}: there is no such folder")
    inside = sorted(folder for folder in directory.iterdir() if folder.is_dir() and is_collection(folder))
    if inside:
        names = ", ".join(map(str, inside[:SHOWN])) + (", …" if len(inside) > SHOWN else "")
        raise CollectionNotFound(f"{directory} is a folder of collections: give one of them: {names}")
    raise CollectionNotFound(f"{directory} is no collection: it holds no catalog")
