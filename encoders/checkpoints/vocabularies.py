"""What is known about a side before its model is read: its tokenization, and its terms and their number."""

from __future__ import annotations

import dataclasses
import json

from safetensors import SafetensorError, safe_open

from encoders.checkpoints.files import position_limit, position_limit_of, read_object, smallest
from encoders.checkpoints.lsr_layout import POOLED_HEAD, POOLED_HEAD_INT8
from encoders.checkpoints.sources import SideSource
from encoders.checkpoints.tokenizer_files import read_tokenizer
from encoders.errors import CheckpointError, SettingError
from encoders.settings import Family, SideSettings
from encoders.text.tokenization import Tokenization
from encoders.text.tokenizer import LoadedTokenizer

# A vocabulary matrix is often padded to a multiple of 64 or so; more than this is another model's tokenizer.
_MOST_UNNAMED = 1024
_DEFAULT_LENGTH = 512  # where neither tokenizer nor model names a limit
_WITH_VOCABULARY_HEAD = (
    Family.MASKED_LM,
    Family.LITERAL,
    Family.EPIC,
    Family.ECHO,
    Family.BIDIRECTIONAL,
    Family.PROSPER,
)


def load_tokenizer(source: SideSource) -> LoadedTokenizer:
    """Return a side's tokenizer; raise CheckpointError, ModelsMissing."""
    return read_tokenizer(source.tokenizer_folder or source.folder)


def settings_in_force(source: SideSource, tokenizer: LoadedTokenizer) -> SideSettings:
    """Return the side's settings with the length in force; raise SettingError for one above the model's limit."""
    family, asked = source.settings.family, source.settings.max_length
    positions = None if family is Family.STATIC else _positions(source)
    if positions is not None and family is Family.ECHO:
        positions //= 2  # the sequence contains the text twice
    if asked is None:
        limit = smallest(tokenizer.max_length, positions)
        length = limit or (None if family is Family.STATIC else _DEFAULT_LENGTH)
    elif positions is not None and asked > positions:
        raise SettingError(f"max_length {asked} is above {positions}, the model's limit")
    else:
        length = asked
    return dataclasses.replace(source.settings, max_length=length)


def _positions(source: SideSource) -> int | None:
    if source.base_config is not None:
        return position_limit_of(json.loads(source.base_config))
    return position_limit(source.folder)


def tokenization_of(tokenizer: LoadedTokenizer, settings: SideSettings) -> Tokenization:
    """Return the tokenization that settings in force ask for; raise SettingError."""
    return Tokenization(
        tokenizer,
        settings.max_length,
        prompt=settings.prompt,
        lower_case=settings.lower_case,
        conflate=settings.conflate,
    )


def named_terms(source: SideSource, tokens: list[str], n_terms: int) -> list[str]:
    """Return the names of n_terms terms, of which `tokens` are the tokenizer's; raise CheckpointError if tokenizer and
    model do not belong together."""
    if len(tokens) > n_terms or n_terms - len(tokens) > _MOST_UNNAMED:
        raise CheckpointError(
            f"{source.folder}: tokenizer and weights do not fit: {len(tokens)} tokens, but the model has {n_terms} "
            "terms"
        )
    return tokens + [f"[unnamed {number}]" for number in range(len(tokens), n_terms)]


def term_count(source: SideSource) -> int | None:
    """Return the number of terms of a side with a model, from config.json or a header; None if only the model knows it.

    An MLP or static side has one term per token, which is None here.
    """
    if source.settings.family in _WITH_VOCABULARY_HEAD:
        file = source.folder / "config.json"
        count = read_object(file).get("vocab_size") if file.is_file() else None
        return count if isinstance(count, int) and count > 0 else None
    if source.settings.family is Family.POOLED:
        return _factors(source)
    return None


def dense_size(source: SideSource) -> int | None:
    """Return how many numbers the dense vector of a pooled side has, from config.json; None for other sides, and where
    only the model knows."""
    if source.settings.family is not Family.POOLED:
        return None
    file = source.folder / "config.json"
    size = read_object(file).get("hidden_size") if file.is_file() else None
    return size if isinstance(size, int) and size > 0 else None


def _factors(source: SideSource) -> int | None:
    """Return the length of the tensor `factor` of a pooled head."""
    for name in (POOLED_HEAD_INT8, POOLED_HEAD):
        file = source.folder / name
        if file.is_file():
            try:
                with safe_open(file, framework="np") as tensors:
                    shape = tensors.get_slice("factor").get_shape()
            except (OSError, SafetensorError) as error:
                raise CheckpointError(f"{file} cannot be read: {error}") from None
            return int(shape[0]) if len(shape) == 1 else None
    return None
