"""Layout 5: a LoRA adapter, whose config names the model that it changes."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.cards import known_names
from encoders.checkpoints.files import read_object
from encoders.checkpoints.locate import locate
from encoders.checkpoints.sources import SideSource
from encoders.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CONFIG = "adapter_config.json"


def has_adapter(folder: Path) -> bool:
    """Return whether the folder is an adapter."""
    return (folder / _CONFIG).is_file()


def base_folder(adapter: Path) -> Path:
    """Return the folder of the adapter's model: a path, also relative to the adapter, or a name on the hub."""
    file = adapter / _CONFIG
    base = read_object(file).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(f"{file}: base_model_name_or_path does not name the model that the adapter is for")
    local = adapter / base
    return local.resolve() if local.is_dir() else locate(base, known_names())


def with_base(source: SideSource) -> SideSource:
    """Return `source` with the model's folder instead of the adapter's; the tokenizer may be in either."""
    if not has_adapter(source.folder):
        return source
    adapter = source.folder
    own_tokenizer = (adapter / "tokenizer.json").is_file() or (adapter / "tokenizer_config.json").is_file()
    folder = base_folder(adapter)
    return dataclasses.replace(
        source, folder=folder, adapter=adapter, tokenizer_folder=adapter if own_tokenizer else folder
    )


def merge_adapter(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """Return `model` with the adapter's low-rank products added to its weights."""
    try:
        from peft import PeftModel
    except ImportError:
        raise CheckpointError(f"{adapter} is a LoRA adapter, for which the package peft is missing") from None
    try:
        with warnings.catch_warnings():
            # peft only warns about weights that the adapter lacks, or that do not fit.
            warnings.simplefilter("error", UserWarning)
            merged: PreTrainedModel = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, UserWarning) as error:
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise CheckpointError(f"{adapter}: the adapter does not fit {type(model).__name__}: {reason}") from error
    return merged
