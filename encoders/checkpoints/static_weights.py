"""The tables of an inference-free side: an idf.json, or tensors named `weight` and, in our layout, `idf`; in the LSR
framework's one number `scale` for all tokens."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from encoders.checkpoints.files import read_object
from encoders.errors import CheckpointError
from encoders.models_extra import require_models

_NAMES = ("weight", "idf", "scale")
_NUMPY = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8")  # NumPy has no bfloat16, for example


def read_static_weights(
    path: Path, tokens: list[str], missing: float | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the weight of each of `tokens`, float32[len(tokens)], and their idf in the training texts if it is there.

    An idf.json must name every token, unless `missing` gives the weight of the others; a tensor may be shorter than
    `tokens` only by ids without a token. Raises CheckpointError for tokens that are not in the vocabulary, weights
    that are not finite, weights below zero, and files that cannot be read.
    """
    tables = [_from_json(path, tokens, missing)] if path.suffix == ".json" else _from_tensors(path, tokens)
    for table in tables:
        if not np.isfinite(table).all():
            first = tokens[int(np.flatnonzero(~np.isfinite(table))[0])]
            raise CheckpointError(f"{path}: the weight of {first!r} is not finite")
    below = np.flatnonzero(tables[0] < 0)
    if len(below):
        raise CheckpointError(
            f"{path}: {len(below)} weights are below zero (the first is {tokens[int(below[0])]!r}, "
            f"{tables[0][below[0]]:.4g}), which an index of sparse vectors cannot represent; set them to 0 to leave "
            "these tokens out"
        )
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
            raise CheckpointError(f"{path}: the weight of {token!r} is {weight!r}, which is not a finite number")
        table[ids[token]] = weight
    return table


def _from_tensors(path: Path, tokens: list[str]) -> list[NDArray[np.float32]]:
    named = sum(not token.startswith("[unnamed ") for token in tokens)
    vectors = _vectors(path)
    if "scale" in vectors and "weight" not in vectors and vectors["scale"].ndim == 0:
        return [np.full(len(tokens), vectors["scale"], dtype=np.float32)]
    tables = []
    for name in ("weight", "idf") if "idf" in vectors else ("weight",):
        vector = vectors.get(name)
        if vector is None or vector.ndim != 1:
            raise CheckpointError(f"{path}: there is no vector {name!r}")
        if not named <= len(vector) <= len(tokens):
            raise CheckpointError(
                f"{path}: tokenizer and weights do not fit: {len(vector)} weights for a vocabulary of {len(tokens)} "
                "tokens"
            )
        table = np.zeros(len(tokens), dtype=np.float32)
        table[: len(vector)] = vector
        tables.append(table)
    return tables


def _vectors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return those of the tensors in _NAMES that the file has, in float32 and of any shape."""
    if path.suffix != ".safetensors":
        return _with_torch(path)
    try:
        with safe_open(path, framework="np") as tensors:
            names = [name for name in tensors.keys() if name in _NAMES]  # noqa: SIM118 - not iterable
            if any(tensors.get_slice(name).get_dtype() not in _NUMPY for name in names):
                return _with_torch(path)
            return {name: tensors.get_tensor(name).astype(np.float32) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _with_torch(path: Path) -> dict[str, NDArray[np.float32]]:
    require_models()
    from safetensors.torch import load_file
    from torch import Tensor

    from encoders.checkpoints.bin_weights import load_bin

    tensors = load_file(path) if path.suffix == ".safetensors" else load_bin(path)
    found = {name: tensors[name] for name in _NAMES if isinstance(tensors.get(name), Tensor)}
    return {name: tensor.float().numpy() for name, tensor in found.items()}


def _some(tokens: list[str]) -> str:
    return ", ".join(map(repr, tokens[:4])) + (", …" if len(tokens) > 4 else "")
