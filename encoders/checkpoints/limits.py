"""How many tokens a checkpoint takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders.checkpoints.files import read_object

# Their position table starts after the padding id, so two of its entries are never used.
_SHIFTED = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "esm", "data2vec-text")
_UNLIMITED = 10**9  # transformers writes 10**30 where a tokenizer has no limit


def position_limit(folder: Path) -> int | None:
    """Return how many positions the model in `folder` has; None if its config.json names no number."""
    file = folder / "config.json"
    config: dict[str, Any] = read_object(file) if file.is_file() else {}
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
