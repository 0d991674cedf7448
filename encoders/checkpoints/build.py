"""From the sources of a checkpoint to its sides: tokenizer, model, limits, all checked against each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from encoders.checkpoints.source import SideSource
from encoders.errors import CheckpointError, SettingError
from encoders.sides.masked_lm import MaskedLMSide
from encoders.sides.settings import Family
from encoders.sides.side import Side
from encoders.tokenization import Tokenization
from encoders.transformer import Body, Projection, load_with_projection, read_config

# Their position table starts after the padding id.
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "esm")
# A vocabulary matrix is often padded to a multiple of 64 or so; more than this is another model's tokenizer.
_MOST_UNNAMED = 1024


class Builder:
    """Builds sides; two sides with the same model share it."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._models: dict[tuple[Path, Path | None], tuple[Body, Projection]] = {}

    def side(self, source: SideSource) -> tuple[Side, list[str]]:
        """Return the side and the tokens of its vocabulary."""
        tokenizer = read_tokenizer(source.folder)
        config = read_config(source.folder)
        limit = _length_limit(tokenizer, config)
        settings = source.settings
        if settings.max_length is not None and settings.max_length > limit:
            raise SettingError(f"max_length {settings.max_length} is above the {limit} tokens that the model takes")
        settings = dataclasses.replace(settings, max_length=settings.max_length or limit)
        tokenization = Tokenization(
            tokenizer, settings.max_length or limit, prompt=settings.prompt, lower_case=settings.lower_case
        )
        if settings.family is not Family.MASKED_LM:
            raise CheckpointError(f"{settings.family} is not supported yet")
        body, projection = self._model(source, tokenization)
        return MaskedLMSide(tokenization, settings, body, projection), _names(
            source.folder, tokenization, int(projection.weight.shape[0])
        )

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


def _length_limit(tokenizer: PreTrainedTokenizerBase, config: dict[str, Any]) -> int:
    """Return how many tokens the model takes: the tokenizer's limit, or the model's positions where they are fewer."""
    positions = config.get("max_position_embeddings")
    limit = int(min(tokenizer.model_max_length, 10**9))
    if isinstance(positions, int) and positions > 0:
        if config.get("model_type") in _SHIFTED_POSITIONS:
            positions -= int(config.get("pad_token_id") or 0) + 1
        limit = min(limit, positions)
    return limit if limit < 10**9 else 512


def _names(folder: Path, tokenization: Tokenization, n_terms: int) -> list[str]:
    """Return the n_terms tokens; raise CheckpointError if tokenizer and vocabulary matrix are not of one model."""
    tokens = tokenization.tokens
    if len(tokens) > n_terms:
        raise CheckpointError(
            f"{folder}: tokenizer and weights do not fit: {len(tokens)} tokens, but the model has {n_terms} terms"
        )
    if n_terms - len(tokens) > _MOST_UNNAMED:
        raise CheckpointError(
            f"{folder}: tokenizer and weights do not fit: {len(tokens)} tokens for the {n_terms} terms of the model"
        )
    return tokens + [f"[unnamed {number}]" for number in range(len(tokens), n_terms)]
