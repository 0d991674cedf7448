"""Models with one weight an input token: a transformer's folder that also holds a linear layer to one number, or to
two where the text has a weight as well (EPIC).

Two forms: uniCOIL's and TILDEv2's published checkpoints, where the layer is called `tok_proj` among the model's own
weights (under the prefix `coil_encoder.` in some), and this project's own, a file term_weights.safetensors.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from encoders.checkpoints.files import position_limit, smallest
from encoders.checkpoints.sources import SideSource, Sources
from encoders.errors import CheckpointError
from encoders.settings import Activation, Family, Pooling, SideSettings

OWN_FILE = "term_weights.safetensors"
_QUERY_LENGTH = 128  # Pyserini's
_NAMES = ("tok_proj", "coil_encoder.tok_proj", "bert.tok_proj")


def has_term_weights(folder: Path) -> bool:
    """Return whether the folder's weights hold a token projection."""
    return any(f"{name}.weight" in _tensor_names(folder) for name in _NAMES)


def read_term_weights(folder: Path) -> Sources:
    """Return uniCOIL's settings as Pyserini has them: repeated query tokens summed, document tokens by maximum."""
    documents = SideSettings(family=Family.MLP, activation=Activation.RELU)
    length = smallest(_QUERY_LENGTH, position_limit(folder))
    queries = SideSettings(family=Family.MLP, activation=Activation.RELU, pooling=Pooling.SUM, max_length=length)
    return Sources(queries=SideSource(folder, queries), documents=SideSource(folder, documents))


def load_term_weights(folder: Path, outputs: int = 1) -> nn.Linear:
    """Return the linear layer [outputs, size]; raise CheckpointError if the folder has none."""
    if (folder / OWN_FILE).is_file():
        tensors = _tensors(folder / OWN_FILE, ["weight", "bias"])
    else:
        tensors = {}
        for name in _NAMES:
            if f"{name}.weight" in _tensor_names(folder):
                file = _tensor_names(folder)[f"{name}.weight"]
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


def _tensor_names(folder: Path) -> dict[str, Path]:
    """Return each tensor's file; only the headers are read."""
    names: dict[str, Path] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                names.update(dict.fromkeys(tensors.keys(), file))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}") from None
    if not names:
        for file in sorted(folder.glob("pytorch_model*.bin")):
            names.update(dict.fromkeys(load_bin(file), file))
    return names


def _tensors(file: Path, names: list[str]) -> dict[str, Tensor]:
    if file.suffix == ".bin":
        tensors = load_bin(file)
        return {name: tensors[name].float() for name in names if name in tensors}
    with safe_open(file, framework="pt") as tensors:
        return {name: tensors.get_tensor(name).float() for name in names if name in tensors.keys()}  # noqa: SIM118


def load_bin(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.bin` file; raise CheckpointError if it holds anything else."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises pickle's, zipfile's and its own errors here
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(f"{file} cannot be read as tensors alone: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{file} holds no dictionary of tensors")
    return content
