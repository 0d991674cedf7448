"""The encoder that a run starts with where [model] names a kind of side for queries and one for documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.checkpoints.files import read_object
from encoders.errors import CheckpointError, SettingError
from encoders.learned import LearnedEncoder
from encoders.presets import SIDES
from encoders.settings import Family, SideSettings
from encoders.sides.static import StaticSide
from encoders.text.tokenization import Tokenization
from encoders.training.trainable import untrained_sides
from lsr.errors import SettingsError
from lsr.training.context import content_hash
from lsr.training.model_config import ModelConfig

# (mean number of word pieces in a training document, idf of each piece) of a tokenization
Statistics = Callable[[Tokenization], tuple[float, NDArray[np.float32]]]


def start_sides(
    model: ModelConfig, backbone: Path, device: str, statistics: Statistics, start_at_bm25: Callable[[], LearnedEncoder]
) -> LearnedEncoder:
    """Return an encoder of the sides that `model` names on `backbone`.

    `start_at_bm25` returns the start of a literal or pooled method, whose document side is used. Raises SettingsError,
    which names the key, for a backbone without what a side needs.
    """
    queries, documents = str(model.queries), str(model.documents)
    if model.starts_at_bm25:
        start = start_at_bm25()
        return start if queries == "idf" else _with_queries(start, model, backbone, device)
    sides = (_settings(model, "queries", backbone), _settings(model, "documents", backbone))
    encoder = _untrained(sides, model, backbone, device)
    for side, kind in ((encoder.queries, queries), (encoder.documents, documents)):
        if isinstance(side, StaticSide) and kind != "binary":
            average_length, idf = statistics(side.tokenization)
            if kind == "bm25":
                side.settings = dataclasses.replace(side.settings, average_length=average_length)
            else:
                side.table[: len(idf)] = np.where(side.table[: len(idf)] > 0, idf, 0.0)
    return encoder


def _with_queries(start: LearnedEncoder, model: ModelConfig, backbone: Path, device: str) -> LearnedEncoder:
    """Return `start` with the query side that `model` names."""
    own = _untrained(
        (_settings(model, "queries", backbone), SideSettings(family=Family.STATIC)), model, backbone, device
    )
    if len(own.vocabulary) != len(start.vocabulary):
        raise SettingsError(
            f"[model] queries = {model.queries!r} have {len(own.vocabulary)} terms, but the documents "
            f"{len(start.vocabulary)}"
        )
    return LearnedEncoder(
        start.name,
        documents=start.documents,
        queries=own.queries,
        vocabulary=start.vocabulary,
        fingerprint=content_hash(queries=own.fingerprint, documents=start.fingerprint),
        settings={},
    )


def _untrained(
    sides: tuple[SideSettings, SideSettings], model: ModelConfig, backbone: Path, device: str
) -> LearnedEncoder:
    try:
        return untrained_sides(*sides, backbone, device=device, max_length=model.max_length, separate=model.separate)
    except (CheckpointError, SettingError) as error:
        raise SettingsError(
            f"[model] queries = {model.queries!r} and documents = {model.documents!r} cannot start from this backbone: "
            f"{error}"
        ) from error


def _settings(model: ModelConfig, key: str, backbone: Path) -> SideSettings:
    """Return the settings of the kind that `key` names; raise SettingsError for a backbone without its head."""
    name = str(getattr(model, key))
    kind = SIDES[name]
    settings = kind.queries if key == "queries" else kind.documents
    if settings is None:
        raise SettingsError(f"[model] {key} = {name!r} is not possible")
    config = read_object(backbone / "config.json")
    architecture = str((config.get("architectures") or ["a model without architecture"])[0])
    if kind.head is not None and not architecture.endswith(kind.head):
        raise SettingsError(f"[model] {key} = {name!r} needs a *{kind.head}; {backbone} is {architecture}")
    if settings.family is Family.BIDIRECTIONAL:
        settings = dataclasses.replace(settings, logit_scale=int(config["hidden_size"]) ** -0.25)  # Lion's
    if settings.average_length is None and settings.term_frequency:
        settings = dataclasses.replace(settings, k1=model.k1, b=model.b)
    return cut(settings, model.query_max_active_dims if key == "queries" else model.max_active_dims)


def cut(settings: SideSettings, limit: int | None) -> SideSettings:
    """Return `settings` with `limit` as max_active_dims, if it is given."""
    return settings if limit is None else dataclasses.replace(settings, max_active_dims=limit)
