"""From the sources of a checkpoint to its sides: tokenizer, model, limits, all checked against each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from encoders.checkpoints.autoencoder_weights import read_autoencoder
from encoders.checkpoints.files import position_limit, smallest, tokenizer_limit
from encoders.checkpoints.lora_layout import merge_adapter
from encoders.checkpoints.model import load_model
from encoders.checkpoints.onnx_layout import open_graph
from encoders.checkpoints.pooled_head import read_pooled_head
from encoders.checkpoints.sources import SideSource, Sources
from encoders.checkpoints.static_weights import read_static_weights
from encoders.checkpoints.term_weights_layout import load_term_weights
from encoders.compute.transformer import Body, Projection, ready, split_off_projection
from encoders.errors import CheckpointError, SettingError
from encoders.settings import Family
from encoders.sides.autoencoder import AutoencoderSide
from encoders.sides.echo import EchoSide
from encoders.sides.epic import EpicSide
from encoders.sides.literal import LiteralSide
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.mlp import MLPSide
from encoders.sides.onnx import OnnxSide
from encoders.sides.pooled import PooledSide
from encoders.sides.side import Side
from encoders.sides.static import StaticSide
from encoders.text.tokenization import Tokenization

# A vocabulary matrix is often padded to a multiple of 64 or so; more than this is another model's tokenizer.
_MOST_UNNAMED = 1024
_DEFAULT_LENGTH = 512  # where neither tokenizer nor model names a limit
_AUTO_CLASSES = {
    Family.MASKED_LM: "AutoModelForMaskedLM",
    Family.ECHO: "AutoModelForCausalLM",
    Family.BIDIRECTIONAL: "AutoModelForCausalLM",
    Family.EPIC: "AutoModelForMaskedLM",
    Family.AUTOENCODER: "AutoModel",
    Family.MLP: "AutoModel",
    Family.LITERAL: "AutoModelForMaskedLM",
    Family.POOLED: "AutoModel",
}


class Builder:
    """Builds the two sides of one checkpoint; sides with the same model share it."""

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        *,
        allow_remote_code: bool = False,
        new_term_weights: bool = False,
    ) -> None:
        """With `new_term_weights`, linear layers to one number are made, not read: only for training."""
        self._device = device
        self._dtype = dtype
        self._models: dict[tuple[Path, Path | None, str], tuple[Body, Projection | None]] = {}
        self._linears: dict[tuple[Path, int], nn.Linear] = {}
        self._new_term_weights = new_term_weights
        self._allow_remote_code = allow_remote_code

    def build(self, sources: Sources) -> tuple[Side, Side, list[str]]:
        """Return the query side, the document side, and the tokens of the vocabulary that they share."""
        documents, tokens = self._side(sources.documents, None)
        if sources.queries == sources.documents:
            return documents, documents, tokens
        queries, query_tokens = self._side(sources.queries, tokens)
        if query_tokens != tokens:
            raise CheckpointError(
                f"the vocabularies of the query side ({sources.queries.folder}, {len(query_tokens)} terms) and the "
                f"document side ({sources.documents.folder}, {len(tokens)} terms) are not the same"
            )
        return queries, documents, tokens

    def _side(self, source: SideSource, other_tokens: list[str] | None) -> tuple[Side, list[str]]:
        """Return the side and its tokens; a static side is as wide as the other side, whose tokens are given."""
        tokenizer = read_tokenizer(source.tokenizer_folder or source.folder)
        settings = dataclasses.replace(source.settings, max_length=_max_length(source, tokenizer))
        tokenization = Tokenization(
            tokenizer,
            settings.max_length,
            prompt=settings.prompt,
            lower_case=settings.lower_case,
            conflate=settings.conflate,
        )
        if settings.family is Family.STATIC:
            tokens = _named(source.folder, tokenization, len(other_tokens or tokenization.tokens))
            return StaticSide(tokenization, settings, *self._tables(source, tokens)), tokens
        if settings.family is Family.ONNX:
            session, n_terms = open_graph(source, len(tokenization.tokens))
            return OnnxSide(tokenization, settings, session, n_terms), _named(source.folder, tokenization, n_terms)
        body, projection = self._model(source, tokenization)
        if projection is not None:
            tokens = _named(source.folder, tokenization, int(projection.weight.shape[0]))
            if settings.family is Family.LITERAL:
                linear = self._linear(source.folder, int(projection.weight.shape[1]))
                return LiteralSide(tokenization, settings, body, projection, linear), tokens
            if settings.family is Family.EPIC:
                linear = self._linear(source.folder, body.model.config.hidden_size, 2)
                return EpicSide(tokenization, settings, body, projection, linear), tokens
            side = EchoSide if settings.family is Family.ECHO else MaskedLMSide
            return side(tokenization, settings, body, projection), tokens
        if settings.family is Family.AUTOENCODER:
            autoencoder = read_autoencoder(source, body.model.config.hidden_size, self._device)
            latents = [f"[latent {number}]" for number in range(len(autoencoder.latent_bias))]
            return AutoencoderSide(tokenization, settings, body, autoencoder), latents
        if settings.family is Family.POOLED:
            head = read_pooled_head(source.folder, body.model.config.hidden_size)
            ready(head, device=self._device, dtype=torch.float32)
            tokens = _named(source.folder, tokenization, len(head.factor))
            return PooledSide(tokenization, settings, body, head), tokens
        tokens = _named(source.folder, tokenization, len(other_tokens or tokenization.tokens))
        linear = self._linear(source.folder, body.model.config.hidden_size)
        return MLPSide(tokenization, settings, body, linear, len(tokens)), tokens

    def _tables(self, source: SideSource, tokens: list[str]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        if source.static_weights is None:
            return np.ones(len(tokens), dtype=np.float32), None
        return read_static_weights(source.static_weights, tokens, source.settings.missing_weight)

    def _model(self, source: SideSource, tokenization: Tokenization) -> tuple[Body, Projection | None]:
        auto_class = _AUTO_CLASSES[source.settings.family]
        key = (source.folder, source.adapter, auto_class)
        if key not in self._models:
            model = load_model(source.folder, auto_class, allow_remote_code=self._allow_remote_code)
            if source.adapter is not None:
                model = merge_adapter(model, source.adapter)
            if auto_class == "AutoModel":
                ready(model, device=self._device, dtype=self._dtype)
                self._models[key] = Body(model, "last_hidden_state", tokenization.pad_id), None
            else:
                self._models[key] = split_off_projection(
                    model,
                    device=self._device,
                    dtype=self._dtype,
                    pad_id=tokenization.pad_id,
                    look_ahead=source.settings.family is Family.BIDIRECTIONAL,
                )
        return self._models[key]

    def _linear(self, folder: Path, size: int, outputs: int = 1) -> nn.Linear:
        key = folder, outputs
        if key not in self._linears:
            linear = _new_linear(size, outputs) if self._new_term_weights else load_term_weights(folder, outputs)
            if linear.in_features != size:
                raise CheckpointError(f"{folder}: tok_proj reads {linear.in_features} numbers, the model gives {size}")
            ready(linear, device=self._device, dtype=self._dtype)
            self._linears[key] = linear
        return self._linears[key]


def _new_linear(size: int, outputs: int) -> nn.Linear:
    """Return a layer that gives every token about 1: below zero, relu would let nothing be learned."""
    linear = nn.Linear(size, outputs)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.ones_(linear.bias)
    return linear


def _max_length(source: SideSource, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the length in force; raise SettingError for one above what the model takes."""
    family, asked = source.settings.family, source.settings.max_length
    positions = None if family is Family.STATIC else position_limit(source.folder)
    if positions is not None and family is Family.ECHO:
        positions //= 2  # the text stands there twice
    if asked is not None:
        if positions is not None and asked > positions:
            raise SettingError(f"max_length {asked} is above the {positions} tokens that the model takes")
        return asked
    limit = smallest(tokenizer_limit(tokenizer.model_max_length), positions)
    return limit or (None if family is Family.STATIC else _DEFAULT_LENGTH)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the folder's tokenizer; raise CheckpointError naming the folder."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise CheckpointError(f"{folder}: the tokenizer cannot be read: {reason}") from error
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerBase):
        raise CheckpointError(f"{folder}: {type(tokenizer).__name__} is no tokenizer")
    return tokenizer


def _named(folder: Path, tokenization: Tokenization, n_terms: int) -> list[str]:
    """Return n_terms tokens; raise CheckpointError if tokenizer and vocabulary matrix are not of one model."""
    tokens = tokenization.tokens
    if len(tokens) > n_terms or n_terms - len(tokens) > _MOST_UNNAMED:
        raise CheckpointError(
            f"{folder}: tokenizer and weights do not fit: {len(tokens)} tokens, but the model has {n_terms} terms"
        )
    return tokens + [f"[unnamed {number}]" for number in range(len(tokens), n_terms)]
