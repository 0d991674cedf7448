"""A static body on disk: config.json with `body` and its sizes, and static_body.safetensors or, with one byte for
each number of the vectors, static_body.int8.safetensors (encoders.checkpoints.int8)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from encoders.checkpoints.files import read_object
from encoders.checkpoints.int8 import load_int8
from encoders.compute.static_body import FILE, KIND, StaticBody
from encoders.errors import CheckpointError

FILE_INT8 = "static_body.int8.safetensors"
_TENSORS = ("vectors", "token_weights", "offset")


def is_static_body(folder: Path) -> bool:
    """Return whether the folder's config.json is a static body's."""
    file = folder / "config.json"
    return file.is_file() and read_object(file).get("body") == KIND


def read_static_body(folder: Path, dtype: torch.dtype = torch.float32) -> StaticBody:
    """Return the body, for products in `dtype`; raise CheckpointError naming the file that is missing, damaged or does
    not fit config.json."""
    file = folder / FILE_INT8 if (folder / FILE_INT8).is_file() else folder / FILE
    if not file.is_file():
        raise CheckpointError(f"{folder}: a static body needs {FILE} or {FILE_INT8}, and has neither")
    try:
        tensors = load_int8(file) if file.name == FILE_INT8 else load_file(file)
        body = StaticBody(*(tensors[name] for name in _TENSORS), dtype=dtype)
    except KeyError as error:
        raise CheckpointError(f"{file}: the tensor {error} is missing") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from None
    config = read_object(folder / "config.json")
    found = (len(body.vectors), body.hidden_size)
    if found != (config.get("vocab_size"), config.get("hidden_size")):
        raise CheckpointError(f"{file}: its vectors are {found[0]} x {found[1]}, which is not what config.json says")
    return body
