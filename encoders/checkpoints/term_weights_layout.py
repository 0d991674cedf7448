"""Models with one weight per input token: a transformer's folder that also contains a linear layer to one number, or
to two where the text has a weight as well (EPIC).

Two forms: uniCOIL's and TILDEv2's published checkpoints, where the layer is called `tok_proj` among the model's own
weights (under the prefix `coil_encoder.` in some), and this project's own, a file term_weights.safetensors.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from encoders.checkpoints.files import position_limit, smallest
from encoders.checkpoints.sources import SideSource, Sources
from encoders.errors import CheckpointError
from encoders.models_extra import require_models
from encoders.settings import Activation, Family, Pooling, SideSettings

NAMES = ("tok_proj", "coil_encoder.tok_proj", "bert.tok_proj")
_QUERY_LENGTH = 128  # Pyserini's


def has_term_weights(folder: Path) -> bool:
    """Return whether the folder's weights contain a token projection; raise ModelsMissing if only torch reads them."""
    return any(f"{name}.weight" in tensor_files(folder) for name in NAMES)


def read_term_weights(folder: Path) -> Sources:
    """Return uniCOIL's settings, as in Pyserini: repeated query tokens are summed, of document tokens the maximum."""
    documents = SideSettings(family=Family.MLP, activation=Activation.RELU)
    length = smallest(_QUERY_LENGTH, position_limit(folder))
    queries = SideSettings(family=Family.MLP, activation=Activation.RELU, pooling=Pooling.SUM, max_length=length)
    return Sources(queries=SideSource(folder, queries), documents=SideSource(folder, documents))


def tensor_files(folder: Path) -> dict[str, Path]:
    """Return each tensor's file; of safetensors only the headers are read."""
    names: dict[str, Path] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(file, framework="np") as tensors:
                names.update(dict.fromkeys(tensors.keys(), file))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}") from None
    if not names:
        for file in sorted(folder.glob("pytorch_model*.bin")):
            require_models()
            from encoders.checkpoints.bin_weights import load_bin

            names.update(dict.fromkeys(load_bin(file), file))
    return names
