"""The weights of a sparse autoencoder (CSR), as the module SparseAutoEncoder of sentence-transformers saves them."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from encoders.checkpoints.bin_weights import load_bin
from encoders.checkpoints.files import read_object
from encoders.checkpoints.sources import SideSource
from encoders.errors import CheckpointError
from encoders.sides.autoencoder import Autoencoder

_SHAPES = {"pre_bias": 1, "encoder.weight": 2, "latent_bias": 1}
_TIED = "decoder.linear.weight"  # the encoder's weight, under the name that safetensors stores it by


def read_autoencoder(source: SideSource, size: int, device: torch.device) -> Autoencoder:
    """Return the autoencoder of a side whose model computes embeddings of `size` numbers; raise CheckpointError."""
    folder = source.autoencoder
    if folder is None:
        raise CheckpointError(f"{source.folder}: there is no sparse autoencoder; family='autoencoder' needs one")
    config = read_object(folder / "config.json")
    file = folder / "model.safetensors"
    if not file.is_file():
        file = folder / "pytorch_model.bin"
    try:
        tensors = load_file(file) if file.suffix == ".safetensors" else load_bin(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
    if _TIED in tensors:
        tensors.setdefault("encoder.weight", tensors[_TIED])
    for name, dimensions in _SHAPES.items():
        if name not in tensors or tensors[name].ndim != dimensions:
            raise CheckpointError(f"{file}: the tensor {name} of a sparse autoencoder is missing or has a wrong shape")
    pre_bias, weight, latent_bias = (tensors[name].to(device, torch.float32) for name in _SHAPES)
    if weight.shape != (len(latent_bias), len(pre_bias)) or len(pre_bias) != size:
        raise CheckpointError(
            f"{file}: an autoencoder of {list(weight.shape)} does not fit embeddings of {size} numbers"
        )
    return Autoencoder(
        pre_bias, weight, latent_bias, unit_length=source.unit_length, layer_norm=bool(config.get("normalize", False))
    )
