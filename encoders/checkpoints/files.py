"""Small files of a checkpoint, read with suspicion: JSON objects, and paths that must stay inside the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from encoders.errors import CheckpointError


def read_json(path: Path) -> Any:
    """Return a JSON file's content; raise CheckpointError naming the file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """Return a file's JSON object; raise CheckpointError naming the file if it is missing or none."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content


def inside(folder: Path, relative: object, file: Path) -> Path:
    """Return folder / relative; raise CheckpointError, naming the `file` that says so, if that leaves the folder."""
    if not isinstance(relative, str):
        raise CheckpointError(f"{file}: {relative!r} is no path")
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CheckpointError(f"{file}: the path {relative!r} leaves the checkpoint's folder")
    return path
