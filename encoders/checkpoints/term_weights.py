"""The linear layers that a side has besides its model: from a token's hidden state to its weight
(encoders.checkpoints.term_weights_layout), and PROSPER's literal residual."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn

from encoders.checkpoints.bin_weights import load_bin
from encoders.checkpoints.lsr_layout import LITERAL_RESIDUAL, TERM_WEIGHTS
from encoders.checkpoints.term_weights_layout import NAMES, tensor_files
from encoders.errors import CheckpointError


def load_term_weights(folder: Path, outputs: int = 1) -> nn.Linear:
    """Return the linear layer [outputs, size]; raise CheckpointError if the folder has none."""
    if (folder / TERM_WEIGHTS).is_file():
        tensors = _tensors(folder / TERM_WEIGHTS, ["weight", "bias"])
    else:
        tensors = {}
        for name in NAMES:
            if f"{name}.weight" in tensor_files(folder):
                file = tensor_files(folder)[f"{name}.weight"]
                found = _tensors(file, [f"{name}.weight", f"{name}.bias"])
                tensors = {key.rsplit(".", 1)[1]: tensor for key, tensor in found.items()}
    if set(tensors) != {"weight", "bias"}:
        raise CheckpointError(f"{folder}: the linear layer from hidden state to term weight is missing (tok_proj)")
    weight = tensors["weight"]
    if weight.ndim != 2 or weight.shape[0] != outputs or tensors["bias"].shape != (outputs,):
        raise CheckpointError(f"{folder}: tok_proj has shape {list(weight.shape)}, not [{outputs}, hidden size]")
    linear = nn.Linear(weight.shape[1], outputs)
    linear.load_state_dict(tensors)
    return linear


def load_residual(folder: Path, shape: tuple[int, int]) -> nn.Linear:
    """Return PROSPER's literal residual layer of `shape` [vocabulary, size]; raise CheckpointError if the folder has
    none of that shape."""
    file = folder / LITERAL_RESIDUAL
    if not file.is_file():
        raise CheckpointError(f"{file} is missing: a PROSPER side needs its literal residual layer")
    tensors = _tensors(file, ["weight", "bias"])
    if set(tensors) != {"weight", "bias"} or tensors["weight"].shape != shape or tensors["bias"].shape != shape[:1]:
        found = {name: list(tensor.shape) for name, tensor in tensors.items()}
        raise CheckpointError(f"{file}: found {found}, not weight {list(shape)} with its bias")
    linear = nn.Linear(shape[1], shape[0])
    linear.load_state_dict(tensors)
    return linear


def _tensors(file: Path, names: list[str]) -> dict[str, Tensor]:
    if file.suffix == ".bin":
        tensors = load_bin(file)
        return {name: tensors[name].float() for name in names if name in tensors}
    with safe_open(file, framework="pt") as tensors:
        return {name: tensors.get_tensor(name).float() for name in names if name in tensors.keys()}  # noqa: SIM118
