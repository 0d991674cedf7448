"""From the source of a side to the side with its model, whose parts are checked against each other. Imports torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from encoders.checkpoints.autoencoder_weights import read_autoencoder
from encoders.checkpoints.bert_layout import read_bert
from encoders.checkpoints.framework_weights import load_framework_linear
from encoders.checkpoints.lora_layout import merge_adapter
from encoders.checkpoints.onnx_layout import open_graph
from encoders.checkpoints.pooled_head import read_pooled_head
from encoders.checkpoints.sources import SideSource
from encoders.checkpoints.static_body import is_static_body, read_static_body
from encoders.checkpoints.static_weights import read_static_weights
from encoders.checkpoints.term_weights import load_residual, load_term_weights
from encoders.checkpoints.vocabularies import named_terms
from encoders.compute.device import resolve_device, resolve_dtype
from encoders.compute.transformer import (
    BertBody,
    Body,
    Projection,
    TransformersBody,
    ready,
    split_off_projection,
)
from encoders.errors import CheckpointError
from encoders.settings import Family, SideSettings
from encoders.sides.autoencoder import AutoencoderSide
from encoders.sides.echo import EchoSide
from encoders.sides.epic import EpicSide, ScaledEpicSide
from encoders.sides.literal import LiteralSide
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.mlp import MLPSide
from encoders.sides.onnx import OnnxSide
from encoders.sides.pooled import PooledSide
from encoders.sides.prosper import ProsperSide
from encoders.sides.side import Side
from encoders.text.tokenization import Tokenization

_AUTO_CLASSES = {
    Family.MASKED_LM: "AutoModelForMaskedLM",
    Family.ECHO: "AutoModelForCausalLM",
    Family.BIDIRECTIONAL: "AutoModelForCausalLM",
    Family.PROSPER: "AutoModelForCausalLM",
    Family.EPIC: "AutoModelForMaskedLM",
    Family.EPIC_SCALED: "AutoModelForMaskedLM",
    Family.AUTOENCODER: "AutoModel",
    Family.MLP: "AutoModel",
    Family.LITERAL: "AutoModelForMaskedLM",
    Family.POOLED: "AutoModel",
}


class Builder:
    """Builds the sides of one checkpoint that have a model; sides with the same model share it."""

    def __init__(
        self,
        device: str,
        dtype: str | None,
        *,
        allow_remote_code: bool = False,
        new_term_weights: bool = False,
    ) -> None:
        """With `new_term_weights`, linear layers to one number are created, not read: only for training. Raises
        SettingError, DeviceUnavailable."""
        self._device = resolve_device(device)
        self._dtype = resolve_dtype(dtype or "auto", self._device)
        self._models: dict[tuple[Path, Path | None, str, bool], tuple[Body, Projection | None]] = {}
        self._linears: dict[tuple[Path, int], nn.Linear] = {}
        self._new_term_weights = new_term_weights
        self._allow_remote_code = allow_remote_code

    @torch.inference_mode(False)  # weights read in a caller's inference mode could never be trained
    def side(
        self, source: SideSource, settings: SideSettings, tokenization: Tokenization, other_terms: list[str] | None
    ) -> tuple[Side, list[str]]:
        """Return the side and its terms.

        `settings` are those in force. `other_terms` are those of the checkpoint's other side, if it is built: a side
        with one weight per token has the same number. Raises CheckpointError, SettingError.
        """
        if settings.family is Family.ONNX:
            session, n_terms = open_graph(source, len(tokenization.tokens))
            return OnnxSide(tokenization, settings, session, n_terms), named_terms(source, tokenization.tokens, n_terms)
        body, projection = self._model(source, tokenization)
        if projection is not None:
            return self._with_head(source, settings, tokenization, body, projection)
        if settings.family is Family.AUTOENCODER:
            autoencoder = read_autoencoder(source, body.hidden_size, self._device)
            latents = [f"[latent {number}]" for number in range(len(autoencoder.latent_bias))]
            return AutoencoderSide(tokenization, settings, body, autoencoder), latents
        if settings.family is Family.POOLED:
            head = read_pooled_head(source.folder, body.hidden_size)
            ready(head, device=self._device, dtype=torch.float32)
            terms = named_terms(source, tokenization.tokens, len(head.factor))
            return PooledSide(tokenization, settings, body, head), terms
        if settings.family is Family.MLP:
            terms = named_terms(source, tokenization.tokens, len(other_terms or tokenization.tokens))
            linear = self._linear(source, body.hidden_size)
            return MLPSide(tokenization, settings, body, linear, len(terms)), terms
        raise CheckpointError(f"{source.folder}: family {settings.family} has no model to build")

    def _with_head(
        self,
        source: SideSource,
        settings: SideSettings,
        tokenization: Tokenization,
        body: Body,
        projection: Projection,
    ) -> tuple[Side, list[str]]:
        """Return the side with a vocabulary head, and its terms."""
        terms = named_terms(source, tokenization.tokens, int(projection.weight.shape[0]))
        if settings.family is Family.LITERAL:
            linear = self._linear(source, int(projection.weight.shape[1]))
            return LiteralSide(tokenization, settings, body, projection, linear), terms
        if settings.family in (Family.EPIC, Family.EPIC_SCALED):
            linear = self._linear(source, body.hidden_size, 2)
            epic = EpicSide if settings.family is Family.EPIC else ScaledEpicSide
            return epic(tokenization, settings, body, projection, linear), terms
        if settings.family is Family.PROSPER:
            return ProsperSide(tokenization, settings, body, projection, self._residual(source, projection)), terms
        side = EchoSide if settings.family is Family.ECHO else MaskedLMSide
        return side(tokenization, settings, body, projection, self._table(source, settings, terms)), terms

    def _model(self, source: SideSource, tokenization: Tokenization) -> tuple[Body, Projection | None]:
        auto_class = _AUTO_CLASSES[source.settings.family]
        key = (source.folder, source.adapter, auto_class, source.settings.family is Family.BIDIRECTIONAL)
        if key not in self._models:
            self._models[key] = (
                self._static(source) or self._own(source, tokenization) or self._transformers(source, tokenization)
            )
        return self._models[key]

    def _static(self, source: SideSource) -> tuple[Body, None] | None:
        """Return a pooled side's body where it is static, which needs no transformer."""
        if source.settings.family is not Family.POOLED or not is_static_body(source.folder):
            return None
        halves = self._device.type == "cpu" and self._dtype == torch.bfloat16
        body = read_static_body(source.folder, torch.bfloat16 if halves else torch.float32)
        body.to(self._device)
        return body, None

    def _own(self, source: SideSource, tokenization: Tokenization) -> tuple[Body, Projection | None] | None:
        """Return the model without transformers, where this package computes it; see BertBody."""
        auto_class = _AUTO_CLASSES[source.settings.family]
        if self._device.type != "cpu" or source.adapter is not None or auto_class == "AutoModelForCausalLM":
            return None
        if source.base_config is not None:
            return None
        read = read_bert(source.folder, self._dtype, masked_lm=auto_class == "AutoModelForMaskedLM")
        if read is None:
            return None
        bert, layer = read
        projection = None if layer is None else Projection(layer)

        def transformers_body() -> TransformersBody:
            body, its_projection = self._transformers(source, tokenization)
            if projection is not None and its_projection is not None:  # its weights may be tied to the body's
                projection.layer.weight = its_projection.layer.weight
                projection.layer.bias = its_projection.layer.bias
            return body

        return BertBody(bert, tokenization.pad_id, transformers_body), projection

    def _transformers(
        self, source: SideSource, tokenization: Tokenization
    ) -> tuple[TransformersBody, Projection | None]:
        from encoders.checkpoints.model import load_model  # imports transformers

        auto_class = _AUTO_CLASSES[source.settings.family]
        model = load_model(
            source.folder,
            auto_class,
            allow_remote_code=self._allow_remote_code,
            base_config=source.base_config,
        )
        if source.adapter is not None:
            model = merge_adapter(model, source.adapter)
        if auto_class == "AutoModel":
            ready(model, device=self._device, dtype=self._dtype)
            return TransformersBody(model, "last_hidden_state", tokenization.pad_id), None
        return split_off_projection(
            model,
            device=self._device,
            dtype=self._dtype,
            pad_id=tokenization.pad_id,
            look_ahead=source.settings.family is Family.BIDIRECTIONAL,
        )

    def _table(self, source: SideSource, settings: SideSettings, terms: list[str]) -> torch.Tensor | None:
        """Return the fixed weights of a lexical side's tokens, if the checkpoint has some."""
        if source.static_weights is None or not settings.lexical:
            return None
        table, *_ = read_static_weights(source.static_weights, terms, settings.missing_weight)
        return torch.from_numpy(table).to(self._device)

    def _residual(self, source: SideSource, projection: Projection) -> nn.Linear:
        """Return the literal residual layer of a PROSPER side, [vocabulary, size]."""
        outputs, size = projection.weight.shape
        key = source.layers, int(outputs)
        if key not in self._linears:
            if self._new_term_weights:
                linear = nn.Linear(size, outputs)
            else:
                linear = load_residual(source.layers, (int(outputs), int(size)))
            ready(linear, device=self._device, dtype=self._dtype)
            self._linears[key] = linear
        return self._linears[key]

    def _linear(self, source: SideSource, size: int, outputs: int = 1) -> nn.Linear:
        folder = source.layers
        key = folder, outputs
        if key not in self._linears:
            if self._new_term_weights:
                linear = _new_linear(size, outputs)
            elif source.base_config is not None:
                linear = load_framework_linear(folder, size, outputs)
            else:
                linear = load_term_weights(folder, outputs)
            if linear.in_features != size:
                raise CheckpointError(f"{folder}: tok_proj reads {linear.in_features} numbers, the model gives {size}")
            ready(linear, device=self._device, dtype=self._dtype)
            self._linears[key] = linear
        return self._linears[key]


def _new_linear(size: int, outputs: int) -> nn.Linear:
    """Return a layer that gives every token about 1: below zero, relu would have no gradient."""
    linear = nn.Linear(size, outputs)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.ones_(linear.bias)
    return linear
