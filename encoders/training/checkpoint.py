"""Checkpoints of a run: complete or missing, whenever the process is killed.

    checkpoints/step-00000500/parameters.safetensors   every trained parameter by name, none that is frozen
                              optimizer.safetensors    AdamW's moments, `<parameter>/exp_avg` and so on
                              state.json               step, the run's identity, the loop's memory

Written to a hidden folder next to it, synced, renamed. There is no random state to keep: each step derives its own
from seed and step. The format is safetensors, so that nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from encoders.training.errors import CheckpointMismatch, TrainingError

_KEPT = 2


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    identity: str,
    memory: Mapping[str, Any],
) -> Path:
    """Write the state after `step` steps and return its folder; older checkpoints but one are removed.

    `memory` are JSON values. Raises OSError, with the old checkpoints untouched, when the disk is full.
    """
    target = folder / f"step-{step:08d}"
    partial = folder / f".{target.name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        _save(_trained(model), partial / "parameters.safetensors")
        _save(_optimizer_tensors(model, optimizer), partial / "optimizer.safetensors")
        content = {"step": step, "identity": identity, "memory": dict(memory)}
        (partial / "state.json").write_text(json.dumps(content))
        for path in (*partial.iterdir(), partial):
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync(folder)
    except SafetensorError as error:  # its class for an input/output error
        raise OSError(f"{target}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints, oldest first."""
    return sorted(path.parent for path in folder.glob("step-*/state.json"))


def load_checkpoint(
    checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[int, dict[str, Any]]:
    """Put the checkpoint's state into model and optimizer; return (steps done, memory).

    Raises CheckpointMismatch for another run's checkpoint, TrainingError for a damaged one.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        parameters = load_file(checkpoint / "parameters.safetensors")
        moments = load_file(checkpoint / "optimizer.safetensors")
        step, found, memory = int(state["step"]), state["identity"], dict(state["memory"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise TrainingError(
            f"{checkpoint}: damaged checkpoint ({error}); remove the folder to continue from the one before"
        ) from None
    if found != identity:
        raise CheckpointMismatch(
            f"{checkpoint} was written with other settings or other data; train into another folder, or use the same"
        )
    own = dict(model.named_parameters())
    if not _trained(model).keys() <= parameters.keys() <= own.keys():
        raise CheckpointMismatch(f"{checkpoint}: its parameters are not those of the model")
    with torch.no_grad():
        for name, parameter in parameters.items():
            own[name].copy_(parameter)
    for name, parameter in own.items():
        entries = {key.rsplit("/", 1)[1]: tensor for key, tensor in moments.items() if key.rsplit("/", 1)[0] == name}
        if entries:
            optimizer.state[parameter] = {
                key: tensor if key == "step" else tensor.to(parameter.device) for key, tensor in entries.items()
            }
    return step, memory


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
