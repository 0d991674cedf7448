"""A transformer read from a folder, split into its body and its projection onto the vocabulary.

Nothing is trusted: remote code is not run, `.bin` weights are read with weights_only (transformers does so), and a
weight that the files do not hold is an error -- transformers would make one up at random and say so in a log line.

The split works for every architecture whose output embedding is one linear layer (BERT, DistilBERT, RoBERTa, ALBERT,
DeBERTa, ModernBERT, Mistral, ...): that layer is taken out, so that the model returns what would have gone into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from encoders.checkpoints.files import read_object
from encoders.errors import CheckpointError, RemoteCodeRefused


class Body:
    """Token ids to the hidden states of the real tokens, one text behind the other, without the padding."""

    def __init__(self, model: nn.Module, output: str, pad_id: int, device: torch.device) -> None:
        self.model = model
        self._output = output
        self._pad_id = pad_id
        self.device = device

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return hidden [sum of lengths, size] in the model's dtype."""
        lengths = [len(one) for one in ids]
        longest = max(lengths)
        padded = torch.full((len(ids), longest), self._pad_id, dtype=torch.int64)
        for row, one in enumerate(ids):
            padded[row, : len(one)] = torch.tensor(one, dtype=torch.int64)
        padded = padded.to(self.device)
        if min(lengths) == longest:
            mask = torch.ones_like(padded)
        else:
            mask = (torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]).to(self.device)
        hidden: Tensor = self.model(input_ids=padded, attention_mask=mask.long(), return_dict=True)[self._output]
        if min(lengths) == longest:
            return hidden.flatten(0, 1)
        return hidden[mask]


class Projection:
    """weight [vocabulary, size] and bias [vocabulary] or None: what the model's last linear layer held."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight: Tensor = layer.weight
        self.bias: Tensor | None = layer.bias


def load_with_projection(
    folder: Path, kind: str, *, device: torch.device, dtype: torch.dtype, pad_id: int
) -> tuple[Body, Projection]:
    """Return body and vocabulary projection of the checkpoint in `folder`; `kind` is MaskedLM or CausalLM.

    Raises CheckpointError for missing files, missing or misshapen weights; RemoteCodeRefused.
    """
    model = load_model(folder, f"AutoModelFor{kind}")
    return split(model, folder, device=device, dtype=dtype, pad_id=pad_id)


def split(
    model: nn.Module, folder: Path, *, device: torch.device, dtype: torch.dtype, pad_id: int
) -> tuple[Body, Projection]:
    """Return a loaded language model as body and projection, both on `device` in `dtype`, ready for inference."""
    layer = model.get_output_embeddings()  # type: ignore[operator]
    if not isinstance(layer, nn.Linear):
        raise CheckpointError(f"{folder}: {type(model).__name__} has no linear output embedding, but {layer!r}")
    name = next(name for name, module in model.named_modules() if module is layer)
    model.set_submodule(name, nn.Identity())
    model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    layer.to(device=device, dtype=dtype).requires_grad_(False)
    return Body(model, "logits", pad_id, device), Projection(layer)


def load_model(folder: Path, auto_class: str) -> nn.Module:
    """Return the model that transformers reads from `folder` in float32, every weight accounted for."""
    check_files(folder)
    loader = getattr(transformers, auto_class)
    try:
        with _quiet():
            model, report = loader.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: {_first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{folder}: the weights of {len(missing)} parameters are missing ({', '.join(missing[:4])}"
            f"{', …' if len(missing) > 4 else ''}); they would be random numbers"
        )
    misshapen = [str(entry[0]) for entry in report["mismatched_keys"]]
    if misshapen:
        raise CheckpointError(f"{folder}: the shapes of {', '.join(misshapen)} do not fit config.json")
    return model  # type: ignore[no-any-return]


def check_files(folder: Path) -> None:
    """Raise if the folder brings its own code or no weights."""
    config = read_object(folder / "config.json")
    if config.get("auto_map") and config.get("model_type") not in transformers.CONFIG_MAPPING:
        raise RemoteCodeRefused(
            f"{folder} brings its own code ({', '.join(map(str, config['auto_map'].values()))}), which is not run. "
            "Read it; if you trust it, convert the checkpoint to an architecture that transformers has"
        )
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise CheckpointError(f"{folder} holds no weights: neither *.safetensors nor pytorch_model*.bin")


class _quiet:
    """transformers' progress bars and warnings off; what they would say is checked and raised instead."""

    def __enter__(self) -> None:
        self._bars = transformers_logging.is_progress_bar_enabled()
        self._level = transformers_logging.get_verbosity()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]

    def __exit__(self, *_: object) -> None:
        transformers_logging.set_verbosity(self._level)
        if self._bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:400]
