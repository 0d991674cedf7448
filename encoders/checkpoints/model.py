"""A transformer read from a folder, which is not trusted.

Remote code is not run, `.bin` weights are read with weights_only (as transformers does), and a weight that is missing
in the files is an error: transformers would initialise it at random and only log that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from encoders.checkpoints.files import read_object
from encoders.checkpoints.int8 import FILE as INT8_FILE
from encoders.checkpoints.int8 import load_int8
from encoders.compute.transformer import quiet_transformers
from encoders.errors import CheckpointError, RemoteCodeRefused


def load_model(
    folder: Path, auto_class: str, *, allow_remote_code: bool = False, base_config: str | None = None
) -> PreTrainedModel:
    """Return the model that transformers reads from `folder` in float32, with every weight from the files.

    With `base_config`, the model of that config.json, whose weights have the prefix `model.` in the files.
    `auto_class` is AutoModelForMaskedLM, AutoModelForCausalLM or AutoModel. Raises CheckpointError for missing files
    and for weights that are missing or have a wrong shape, RemoteCodeRefused.
    """
    check_files(folder, allow_remote_code=allow_remote_code)
    loader = getattr(transformers, auto_class)
    if (folder / INT8_FILE).is_file():
        return _from_int8(folder, loader)
    wrapped = {} if base_config is None else {"config": _config(folder, base_config)}
    prefix = r"^model\." if wrapped else r"^coil_encoder\."
    try:
        with quiet_transformers():
            model, report = loader.from_pretrained(
                folder,
                **wrapped,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=allow_remote_code,
                output_loading_info=True,
                key_mapping={prefix: ""},
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: {_first_line(error)}") from error
    # A pooler is not used here.
    missing = sorted(key for key in report["missing_keys"] if "pooler." not in key)
    if missing:
        raise CheckpointError(
            f"{folder}: the weights of {len(missing)} parameters are missing ({', '.join(missing[:4])}"
            f"{', …' if len(missing) > 4 else ''}); they would be random numbers"
        )
    misshapen = [str(entry[0]) for entry in report["mismatched_keys"]]
    if misshapen:
        raise CheckpointError(f"{folder}: the shapes of {', '.join(misshapen)} do not fit config.json")
    if not isinstance(model, PreTrainedModel):
        raise CheckpointError(f"{folder}: {type(model).__name__} is not a transformers model")
    _forget_prefix(model, prefix)
    return model


def _forget_prefix(model: PreTrainedModel, prefix: str) -> None:
    """Remove the renaming that put the weights' names right: `save_pretrained` would apply it backwards."""
    renamings = getattr(model, "_weight_conversions", None)
    if renamings is None:
        return
    others = [one for one in renamings if prefix not in (getattr(one, "source_patterns", None) or [])]
    model._weight_conversions = others  # type: ignore[assignment]


def _config(folder: Path, content: str) -> PretrainedConfig:
    values = json.loads(content)
    kind = values.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise CheckpointError(f"{folder}: the model that it wraps has the unknown type {kind!r}")
    config: PretrainedConfig = transformers.CONFIG_MAPPING[kind].from_dict(values)
    return config


def _from_int8(folder: Path, loader: Any) -> PreTrainedModel:
    """Return the model of config.json with the weights of the folder's int8 file."""
    tensors = load_int8(folder / INT8_FILE)
    with quiet_transformers():
        model: PreTrainedModel = loader.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    try:
        report = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: {_first_line(error)}") from None
    wrong = sorted(key for key in (*report.missing_keys, *report.unexpected_keys) if "pooler." not in key)
    if wrong:
        raise CheckpointError(
            f"{folder / INT8_FILE} does not contain the weights of config.json: {', '.join(wrong[:4])}"
        )
    return model


def check_files(folder: Path, *, allow_remote_code: bool = False) -> None:
    """Raise if the folder has no weights, or has its own code and that is not allowed."""
    config = read_object(folder / "config.json")
    own_code = config.get("auto_map") and config.get("model_type") not in transformers.CONFIG_MAPPING
    if own_code and not allow_remote_code:
        raise RemoteCodeRefused(
            f"{folder} contains its own code ({', '.join(map(str, config['auto_map'].values()))}), which is not run. "
            "Read it; if you trust it, load_encoder(..., allow_remote_code=True) runs it"
        )
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise CheckpointError(f"{folder} contains no weights: neither *.safetensors nor pytorch_model*.bin")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:400]
