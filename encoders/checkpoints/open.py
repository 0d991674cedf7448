"""Opens a checkpoint of any layout as an encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.checkpoints.build import Builder
from encoders.checkpoints.fingerprint import fingerprint
from encoders.checkpoints.locate import locate
from encoders.checkpoints.plain import read_plain
from encoders.checkpoints.sentence_transformers import is_sentence_transformers, read_sentence_transformers
from encoders.checkpoints.source import Sources
from encoders.device import resolve_device, resolve_dtype
from encoders.errors import SettingError
from encoders.learned import LearnedEncoder
from encoders.sides.settings import SIDE_SETTINGS, override
from encoders.vocabulary import FixedVocabulary


def open_checkpoint(name: str, *, device: str, dtype: str, settings: Mapping[str, Any]) -> LearnedEncoder:
    """Return the encoder of the checkpoint at that path or of that name."""
    _check_names(settings)
    on = resolve_device(device)
    sources = _overridden(read_sources(locate(name, [])), settings)
    queries, documents, tokens = Builder(on, resolve_dtype(dtype, on)).build(sources)
    return LearnedEncoder(
        name,
        documents=documents,
        queries=queries,
        vocabulary=FixedVocabulary(tokens),
        fingerprint=fingerprint((sources.queries, queries.settings), (sources.documents, documents.settings)),
        settings=settings,
    )


def read_sources(folder: Path) -> Sources:
    """Return what the folder's layout says of both sides, whatever layout it is."""
    if is_sentence_transformers(folder):
        return read_sentence_transformers(folder)
    return read_plain(folder)


def _overridden(sources: Sources, settings: Mapping[str, Any]) -> Sources:
    return Sources(
        queries=dataclasses.replace(
            sources.queries, settings=override(sources.queries.settings, settings, side="query")
        ),
        documents=dataclasses.replace(
            sources.documents, settings=override(sources.documents.settings, settings, side="document")
        ),
    )


def _check_names(settings: Mapping[str, Any]) -> None:
    known = [*SIDE_SETTINGS, *(f"{side}_{name}" for side in ("query", "document") for name in SIDE_SETTINGS)]
    for setting in settings:
        if setting not in known:
            raise SettingError(
                f"there is no setting {setting!r}; there are {', '.join(SIDE_SETTINGS)}, "
                "each also with query_ or document_ before it"
            )
