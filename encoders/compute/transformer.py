"""A transformer, split into its body and its projection onto the vocabulary.

The split works for every architecture whose output embedding is one linear layer (BERT, DistilBERT, RoBERTa, ALBERT,
DeBERTa, ModernBERT, Mistral, ...): that layer is removed, so that the model returns the layer's input.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from encoders.compute.bert import Bert
from encoders.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Body(Protocol):
    """Token ids to the hidden states of the tokens, one text after the other, without padding."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The precision it computes in."""
        ...

    @property
    def hidden_size(self) -> int:
        """Numbers in a hidden state."""
        ...

    @property
    def model(self) -> PreTrainedModel:
        """The model that computes from now on: its weights may be trained."""
        ...

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return hidden [sum of lengths, hidden_size] in `dtype`, differentiable where gradients are enabled."""
        ...

    def with_states(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return hidden, and the states of the last layer, which are the head's input; the same shape each."""
        ...

    def save(self, folder: Path, projection: Projection | None) -> None:
        """Write the model as transformers does, with its projection back in place; or its adapter, as peft does."""
        ...


class TransformersBody:
    """The Body that transformers computes, for every architecture.

    `output` is the name of hidden in what the model returns; `head` is the name of the vocabulary projection that was
    removed.
    """

    def __init__(
        self, model: PreTrainedModel, output: str, pad_id: int, head: str | None = None, *, look_ahead: bool = False
    ) -> None:
        """With `look_ahead` every position of a decoder attends to the whole text, not only to earlier positions."""
        self.model = model
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self._output = output
        self._pad_id = pad_id
        self._head = head
        self._look_ahead = look_ahead
        self._adapter: Any = None

    @property
    def hidden_size(self) -> int:
        """Numbers in a hidden state."""
        return int(self.model.config.hidden_size)

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return hidden [sum of lengths, size] in the model's dtype."""
        return self._run(ids)[0]

    def with_states(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return hidden, and the states of the last layer, which are the head's input: [sum of lengths, size] each."""
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
        """Return the numbers that are added to the attention scores, [texts, 1, longest, longest]: a mask of four
        dimensions replaces the causal one."""
        hidden = torch.finfo(self.model.dtype).min
        added = torch.zeros(mask.shape, dtype=self.model.dtype, device=self.device).masked_fill(~mask, hidden)
        return added[:, None, None, :].expand(-1, 1, mask.shape[1], -1)

    @property
    def is_adapted(self) -> bool:
        """Whether it has an adapter (encoders.training.lora), which alone is trained and saved."""
        return self._adapter is not None

    def adapt(self, adapter: Any) -> None:
        """Save `adapter`, a PeftModel around `model`, in place of the model from now on."""
        self._adapter = adapter

    def save(self, folder: Path, projection: Projection | None) -> None:
        """As `Body` says."""
        if self._adapter is not None:
            self._adapter.save_pretrained(folder, save_embedding_layers=False)
            return
        if self._head is not None and projection is not None:
            self.model.set_submodule(self._head, projection.layer)
        try:
            with quiet_transformers():
                self.model.save_pretrained(folder)
        finally:
            if self._head is not None:
                self.model.set_submodule(self._head, nn.Identity())


class BertBody:
    """The Body of a BERT that `encoders.compute.bert` computes, which imports no transformers.

    transformers' model is read when it is first asked for, to train or to save it, or when gradients are enabled; from
    then on it computes, because its weights may change.
    """

    def __init__(self, bert: Bert, pad_id: int, read: Callable[[], TransformersBody]) -> None:
        self.device = torch.device("cpu")
        self.dtype = bert.dtype
        self.hidden_size = bert.shape.hidden_size
        self._bert: Bert | None = bert
        self._pad_id = pad_id
        self._read = read
        self._body: TransformersBody | None = None
        self._reading = threading.Lock()

    @property
    def model(self) -> PreTrainedModel:
        """transformers' model."""
        return self._transformers().model

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """As `Body` says."""
        bert = self._bert
        return self._transformers()(ids) if bert is None or torch.is_grad_enabled() else bert(ids, self._pad_id)[0]

    def with_states(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """As `Body` says."""
        bert = self._bert
        if bert is None or torch.is_grad_enabled():
            return self._transformers().with_states(ids)
        return bert(ids, self._pad_id)

    @property
    def is_adapted(self) -> bool:
        """As TransformersBody's."""
        return self._body is not None and self._body.is_adapted

    def adapt(self, adapter: Any) -> None:
        """As TransformersBody's."""
        self._transformers().adapt(adapter)

    def save(self, folder: Path, projection: Projection | None) -> None:
        """As `Body` says."""
        self._transformers().save(folder, projection)

    def _transformers(self) -> TransformersBody:
        with self._reading:
            if self._body is None:
                with torch.inference_mode(False):  # weights read in a caller's inference mode could never be trained
                    self._body = self._read()
                self._bert = None
            return self._body


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
) -> tuple[TransformersBody, Projection]:
    """Return a language model as body and projection, both on `device` in `dtype`, ready for inference."""
    layer = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(layer, nn.Linear):
        raise CheckpointError(f"{type(model).__name__} has no linear output embedding, but {layer!r}")
    name = next(name for name, module in model.named_modules() if module is layer)
    model.set_submodule(name, nn.Identity())
    layer.to(device=device, dtype=dtype).requires_grad_(False)
    ready(model, device=device, dtype=dtype)
    return TransformersBody(model, "logits", pad_id, name, look_ahead=look_ahead), Projection(layer)


def ready(model: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
    """Put the model on `device` in `dtype`, for inference."""
    model.to(device=device, dtype=dtype)
    model.eval().requires_grad_(False)


class quiet_transformers:
    """transformers' progress bars and warnings off; what they report is checked here, and raised."""

    def __enter__(self) -> None:
        from transformers.utils import logging as transformers_logging

        self._bars = transformers_logging.is_progress_bar_enabled()
        self._level = transformers_logging.get_verbosity()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity(self._level)
        if self._bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
