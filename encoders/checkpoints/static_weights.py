"""The tables of an inference-free side: an idf.json, or tensors named `weight` and, of ours, `idf`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from encoders.checkpoints.files import read_object
from encoders.checkpoints.term_weights_layout import load_bin
from encoders.errors import CheckpointError


def read_static_weights(
    path: Path, tokens: list[str], missing: float | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the weight of each of `tokens`, float32[len(tokens)], and their idf in the training texts if it is there.

    An idf.json must name every token, unless `missing` gives the weight of the others; a tensor may be shorter than
    `tokens` only by ids that no token has. Raises CheckpointError for tokens that are not in the vocabulary, weights
    that are not finite, and files that cannot be read.
    """
    tables = [_from_json(path, tokens, missing)] if path.suffix == ".json" else _from_tensors(path, tokens)
    for table in tables:
        if not np.isfinite(table).all():
            first = tokens[int(np.flatnonzero(~np.isfinite(table))[0])]
            raise CheckpointError(f"{path}: the weight of {first!r} is not finite")
    return tables[0], tables[1] if len(tables) > 1 else None


def _from_json(path: Path, tokens: list[str], missing: float | None) -> NDArray[np.float32]:
    weights = read_object(path)
    ids = {token: number for number, token in enumerate(tokens)}
    unknown = [token for token in weights if token not in ids]
    if unknown:
        raise CheckpointError(f"{path}: {len(unknown)} tokens are not in the vocabulary: {_some(unknown)}")
    absent = [token for token in tokens if token not in weights and not token.startswith("[unnamed ")]
    if absent and missing is None:
        raise CheckpointError(
            f"{path}: {len(absent)} tokens of the vocabulary have no weight: {_some(absent)}; "
            "set query_missing_weight to 0 (as sentence-transformers does) or 1 (as OpenSearch's tuning sample does)"
        )
    table = np.full(len(tokens), missing or 0.0, dtype=np.float32)
    for token, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise CheckpointError(f"{path}: the weight of {token!r} is {weight!r}, no finite number")
        table[ids[token]] = weight
    return table


def _from_tensors(path: Path, tokens: list[str]) -> list[NDArray[np.float32]]:
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = load_bin(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    named = sum(not token.startswith("[unnamed ") for token in tokens)
    tables = []
    for name in ("weight", "idf") if "idf" in tensors else ("weight",):
        vector = tensors.get(name)
        if not isinstance(vector, torch.Tensor) or vector.ndim != 1:
            raise CheckpointError(f"{path}: there is no vector named {name!r}")
        if not named <= len(vector) <= len(tokens):
            raise CheckpointError(
                f"{path}: tokenizer and weights do not fit: {len(vector)} weights for a vocabulary of {len(tokens)} "
                "tokens"
            )
        table = np.zeros(len(tokens), dtype=np.float32)
        table[: len(vector)] = vector.float().numpy()
        tables.append(table)
    return tables


def _some(tokens: list[str]) -> str:
    return ", ".join(map(repr, tokens[:4])) + (", …" if len(tokens) > 4 else "")
