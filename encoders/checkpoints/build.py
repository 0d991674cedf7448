"""From the sources of a checkpoint to its sides: tokenizer, model, limits, all checked against each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from encoders.checkpoints.limits import position_limit, smallest, tokenizer_limit
from encoders.checkpoints.source import SideSource, Sources
from encoders.checkpoints.static_weights import read_static_weights
from encoders.errors import CheckpointError, SettingError
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.settings import Family
from encoders.sides.side import Side
from encoders.sides.static import StaticSide
from encoders.tokenization import Tokenization
from encoders.transformer import Body, Projection, load_with_projection

# A vocabulary matrix is often padded to a multiple of 64 or so; more than this is another model's tokenizer.
_MOST_UNNAMED = 1024
_DEFAULT_LENGTH = 512  # where neither tokenizer nor model names a limit


class Builder:
    """Builds the two sides of one checkpoint; sides with the same model share it."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._models: dict[tuple[Path, Path | None], tuple[Body, Projection]] = {}

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
        tokenizer = read_tokenizer(source.folder)
        settings = source.settings
        static = settings.family is Family.STATIC
        positions = None if static else position_limit(source.folder)
        if settings.max_length is None:
            limit = smallest(tokenizer_limit(tokenizer.model_max_length), positions)
            settings = dataclasses.replace(settings, max_length=limit or (None if static else _DEFAULT_LENGTH))
        elif positions is not None and settings.max_length > positions:
            raise SettingError(f"max_length {settings.max_length} is above the {positions} tokens that the model takes")
        tokenization = Tokenization(
            tokenizer, settings.max_length, prompt=settings.prompt, lower_case=settings.lower_case
        )
        if static:
            tokens = _named(source.folder, tokenization, len(other_tokens or tokenization.tokens))
            return StaticSide(tokenization, settings, self._table(source, tokens)), tokens
        body, projection = self._model(source, tokenization)
        tokens = _named(source.folder, tokenization, int(projection.weight.shape[0]))
        return MaskedLMSide(tokenization, settings, body, projection), tokens

    def _table(self, source: SideSource, tokens: list[str]) -> NDArray[np.float32]:
        if source.static_weights is None:
            return np.ones(len(tokens), dtype=np.float32)
        return read_static_weights(source.static_weights, tokens, source.settings.missing_weight)

    def _model(self, source: SideSource, tokenization: Tokenization) -> tuple[Body, Projection]:
        key = (source.folder, source.adapter)
        if key not in self._models:
            self._models[key] = load_with_projection(
                source.folder, "MaskedLM", device=self._device, dtype=self._dtype, pad_id=tokenization.pad_id
            )
        return self._models[key]


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
