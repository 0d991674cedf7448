"""Whether the files of an encoder are still those that it was read from, without reading weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.cards import find_card, known_names
from encoders.checkpoints.dense_layout import is_dense_pipeline
from encoders.checkpoints.fingerprint import decisive_files
from encoders.checkpoints.locate import locate
from encoders.checkpoints.lsr_layout import is_own
from encoders.checkpoints.opening import find_sources


def file_signature(name: str, settings: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
    """Return path, size and time of the last change (ns) of every file that decides an encoder's vectors.

    `name` is that of a sparse or dense encoder, except bm25. Raises UnknownEncoder, CheckpointError, SettingError.
    """
    found = [(path, path.stat()) for path in sorted(set(_files(name, settings)))]
    return tuple((str(path), status.st_size, status.st_mtime_ns) for path, status in found)


def _files(name: str, settings: Mapping[str, Any]) -> list[Path]:
    if Path(name).expanduser().exists() or find_card(name) is None:
        folder = locate(name, known_names())
        if not is_own(folder) and is_dense_pipeline(folder):
            return [path for path in folder.rglob("*") if path.is_file()]
    sources = find_sources(name, settings)
    return [*decisive_files(sources.queries), *decisive_files(sources.documents)]
