"""A transformer read from a folder, split into its body and its projection onto the vocabulary.

Nothing is trusted: remote code is not run, `.bin` weights are read with weights_only (transformers does so), and a
weight that the files do not hold is an error -- transformers would make one up at random and say so in a log line.

The split works for every architecture whose output embedding is one linear layer (BERT, DistilBERT, RoBERTa, ALBERT,
DeBERTa, ModernBERT, Mistral, ...): that layer is taken out, so that the model returns what would have gone into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from encoders.checkpoints.files import read_object
from encoders.checkpoints.int8 import FILE as INT8_FILE
from encoders.checkpoints.int8 import load_int8
from encoders.errors import CheckpointError, RemoteCodeRefused


class Body:
    """Token ids to the hidden states of the real tokens, one text behind the other, without the padding.

    `output` names what the model returns them as; `head` is where its vocabulary projection was taken out.
    """

    def __init__(
        self, model: PreTrainedModel, output: str, pad_id: int, head: str | None = None, *, look_ahead: bool = False
    ) -> None:
        """With `look_ahead` every position of a decoder sees the whole text, not only what stands before it."""
        self.model = model
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self._output = output
        self._pad_id = pad_id
        self._head = head
        self._look_ahead = look_ahead

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return hidden [sum of lengths, size] in the model's dtype."""
        return self._run(ids)[0]

    def with_states(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return hidden, and the states of the last layer, which went into the head: [sum of lengths, size] each."""
        hidden, states = self._run(ids, output_hidden_states=True)
        return hidden, states

    def _run(self, ids: Sequence[Sequence[int]], **options: bool) -> list[Tensor]:
        lengths = torch.tensor([len(one) for one in ids])
        longest = int(lengths.max())
        padded = torch.full((len(ids), longest), self._pad_id, dtype=torch.int64)
        for row, one in zip(padded, ids, strict=True):
            row[: len(one)] = torch.tensor(one, dtype=torch.int64)
        mask = (torch.arange(longest)[None, :] < lengths[:, None]).to(self.device)
        attention = self._everywhere(mask) if self._look_ahead else mask.long()
        output = self.model(input_ids=padded.to(self.device), attention_mask=attention, return_dict=True, **options)
        wanted = [output[self._output], *(output.hidden_states[-1:] if options else ())]
        whole = int(lengths.min()) == longest
        return [states.flatten(0, 1) if whole else states[mask] for states in wanted]

    def _everywhere(self, mask: Tensor) -> Tensor:
        """Return what is added to the attention scores, [texts, 1, longest, longest]: a mask of four dimensions is
        taken as it is, in the place of the causal one."""
        hidden = torch.finfo(self.model.dtype).min
        added = torch.zeros(mask.shape, dtype=self.model.dtype, device=self.device).masked_fill(~mask, hidden)
        return added[:, None, None, :].expand(-1, 1, mask.shape[1], -1)

    def save(self, folder: Path, projection: Projection | None) -> None:
        """Write the model as transformers does, with its projection back in place."""
        if self._head is not None and projection is not None:
            self.model.set_submodule(self._head, projection.layer)
        try:
            with _quiet():
                self.model.save_pretrained(folder)
        finally:
            if self._head is not None:
                self.model.set_submodule(self._head, nn.Identity())


class Projection:
    """weight [vocabulary, size] and bias [vocabulary] or None: the model's last linear layer."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer

    @property
    def weight(self) -> Tensor:
        """[vocabulary, size]."""
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        """[vocabulary]."""
        return self.layer.bias


def split_off_projection(
    model: PreTrainedModel, *, device: torch.device, dtype: torch.dtype, pad_id: int, look_ahead: bool = False
) -> tuple[Body, Projection]:
    """Return a language model as body and projection, both on `device` in `dtype`, ready for inference."""
    layer = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(layer, nn.Linear):
        raise CheckpointError(f"{type(model).__name__} has no linear output embedding, but {layer!r}")
    name = next(name for name, module in model.named_modules() if module is layer)
    model.set_submodule(name, nn.Identity())
    layer.to(device=device, dtype=dtype).requires_grad_(False)
    ready(model, device=device, dtype=dtype)
    return Body(model, "logits", pad_id, name, look_ahead=look_ahead), Projection(layer)


def ready(model: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
    """Put the model on `device` in `dtype`, for inference."""
    model.to(device=device, dtype=dtype)
    model.eval().requires_grad_(False)


def load_model(folder: Path, auto_class: str, *, allow_remote_code: bool = False) -> PreTrainedModel:
    """Return the model that transformers reads from `folder` in float32, every weight accounted for.

    `auto_class` is AutoModelForMaskedLM, AutoModelForCausalLM or AutoModel. Raises CheckpointError for missing files
    and for missing or misshapen weights, RemoteCodeRefused.
    """
    check_files(folder, allow_remote_code=allow_remote_code)
    loader = getattr(transformers, auto_class)
    if (folder / INT8_FILE).is_file():
        return _from_int8(folder, loader)
    try:
        with _quiet():
            model, report = loader.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=allow_remote_code,
                output_loading_info=True,
                key_mapping={r"^coil_encoder\.": ""},
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: {_first_line(error)}") from error
    # A pooler stands beside what is read here, not under it.
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
        raise CheckpointError(f"{folder}: {type(model).__name__} is no transformers model")
    return model


def _from_int8(folder: Path, loader: Any) -> PreTrainedModel:
    """Return the model of config.json with the weights of the folder's int8 file."""
    tensors = load_int8(folder / INT8_FILE)
    with _quiet():
        model: PreTrainedModel = loader.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    try:
        report = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: {_first_line(error)}") from None
    wrong = sorted(key for key in (*report.missing_keys, *report.unexpected_keys) if "pooler." not in key)
    if wrong:
        raise CheckpointError(f"{folder / INT8_FILE} does not hold the weights of config.json: {', '.join(wrong[:4])}")
    return model


def check_files(folder: Path, *, allow_remote_code: bool = False) -> None:
    """Raise if the folder brings no weights, or its own code and that is not allowed."""
    config = read_object(folder / "config.json")
    own_code = config.get("auto_map") and config.get("model_type") not in transformers.CONFIG_MAPPING
    if own_code and not allow_remote_code:
        raise RemoteCodeRefused(
            f"{folder} brings its own code ({', '.join(map(str, config['auto_map'].values()))}), which is not run. "
            "Read it; if you trust it, load_encoder(..., allow_remote_code=True) runs it"
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
