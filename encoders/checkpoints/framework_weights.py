"""The linear layers of the LSR framework's encoders (encoders.checkpoints.framework_layout)."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from encoders.checkpoints.bin_weights import load_bin
from encoders.checkpoints.term_weights_layout import tensor_files
from encoders.errors import CheckpointError

# The bias of an EPIC part that an encoder does not have: log1p(softplus(x)) = 1, and sigmoid(x) = 1 in float32.
_NO_IMPORTANCE, _NO_QUALITY = math.log(math.expm1(math.e - 1.0)), 40.0


def load_framework_linear(folder: Path, size: int, outputs: int) -> nn.Linear:
    """Return MLP's layer to one number, or EPIC's [2, size] to importance and quality, as encoders.sides.epic has it;
    raise CheckpointError if the layer of an MLP is missing or has another shape."""
    if outputs == 1:
        layers = [_layer(folder, "linear", size)]
        if layers[0] is None:
            raise CheckpointError(f"{folder}: the linear layer from hidden state to term weight is missing (linear)")
    else:
        layers = [_layer(folder, f"{part}.linear", size) for part in ("term_importance", "doc_quality")]
    linear = nn.Linear(size, outputs)
    with torch.no_grad():
        for row, (layer, absent) in enumerate(zip(layers, (_NO_IMPORTANCE, _NO_QUALITY), strict=False)):
            weight, bias = layer or (torch.zeros(size), torch.tensor(absent))
            linear.weight[row], linear.bias[row] = weight, bias
    return linear


def _layer(folder: Path, name: str, size: int) -> tuple[Tensor, Tensor] | None:
    """Return weight [size] and bias of a layer to one number; None if there is none of that name."""
    files = tensor_files(folder)
    if f"{name}.weight" not in files:
        return None
    file = files[f"{name}.weight"]
    tensors = load_file(file) if file.suffix == ".safetensors" else load_bin(file)
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    if weight.shape != (1, size) or bias is None or bias.shape != (1,):
        raise CheckpointError(f"{file}: {name} has shape {list(weight.shape)}, not [1, {size}] with a bias")
    return weight[0].float(), bias[0].float()
