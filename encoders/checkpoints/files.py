"""Small files of a checkpoint, which are not trusted: JSON objects, paths inside the folder, token limits."""

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
    """Return a file's JSON object; raise CheckpointError naming the file if it is missing or contains another value."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not contain a JSON object")
    return content


def inside(folder: Path, relative: object, file: Path) -> Path:
    """Return folder / relative; raise CheckpointError, naming the `file` it is from, if that is outside the folder."""
    if not isinstance(relative, str):
        raise CheckpointError(f"{file}: {relative!r} is not a path")
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CheckpointError(f"{file}: the path {relative!r} is outside the checkpoint's folder")
    return path


# Their position table starts after the padding id, so two of its entries are unused.
_SHIFTED = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "esm", "data2vec-text")
_UNLIMITED = 10**9  # transformers writes 10**30 where a tokenizer has no limit


def position_limit(folder: Path) -> int | None:
    """Return the number of positions of the model in `folder`; None if its config.json has no number."""
    file = folder / "config.json"
    return position_limit_of(read_object(file) if file.is_file() else {})


def position_limit_of(config: dict[str, Any]) -> int | None:
    """Return the number of positions of the model with this config.json; None if it has no number."""
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.get("model_type") in _SHIFTED:
        positions -= int(config.get("pad_token_id") or 0) + 1
    return positions


def tokenizer_limit(model_max_length: float) -> int | None:
    """Return a tokenizer's own limit, or None if it has none."""
    return int(model_max_length) if model_max_length < _UNLIMITED else None


def smallest(*limits: int | None) -> int | None:
    """Return the smallest of the limits that exist."""
    return min((limit for limit in limits if limit is not None), default=None)
