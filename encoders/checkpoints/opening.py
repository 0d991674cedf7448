"""Opens a checkpoint of any layout as an encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.cards import find_card, known_names, shipped_folder
from encoders.checkpoints.fingerprint import fingerprint
from encoders.checkpoints.framework_layout import is_framework, read_framework
from encoders.checkpoints.locate import locate
from encoders.checkpoints.lora_layout import has_adapter, with_base
from encoders.checkpoints.lsr_layout import is_own, read_own
from encoders.checkpoints.naver_layout import has_two_models, read_two_models
from encoders.checkpoints.onnx_layout import has_onnx_alone, read_onnx
from encoders.checkpoints.sentence_transformers_layout import is_sentence_transformers, read_sentence_transformers
from encoders.checkpoints.sides import build_sides
from encoders.checkpoints.sources import SideSource, Sources
from encoders.checkpoints.term_weights_layout import has_term_weights, read_term_weights
from encoders.checkpoints.transformers_layout import read_plain
from encoders.errors import SettingError, UnknownEncoder
from encoders.learned import LearnedEncoder
from encoders.models_extra import require_models
from encoders.settings import SIDE_SETTINGS, Family, SideSettings, check_dtype, override
from encoders.vocabulary import FixedVocabulary

if TYPE_CHECKING:
    from encoders.checkpoints.builder import Builder

_NO_MODEL = (Family.STATIC, Family.ONNX)  # without a torch model, so without a choice of precision


def open_checkpoint(
    name: str, *, device: str, dtype: str | None, settings: Mapping[str, Any], allow_remote_code: bool = False
) -> LearnedEncoder:
    """Return the encoder of the checkpoint at that path or of that name.

    Where queries are looked up in a table, the document model is read, and torch imported, when the first document is
    encoded.
    """
    _check_names(settings)
    check_dtype(dtype)
    sources = find_sources(name, settings)
    families = (sources.queries.settings.family, sources.documents.settings.family)
    if dtype is not None and all(family in _NO_MODEL for family in families):
        raise SettingError(f"dtype cannot be set: {name} has no model with a choice of precision")

    @cache
    def builder() -> Builder:
        require_models()
        from encoders.checkpoints.builder import Builder

        return Builder(device, dtype, allow_remote_code=allow_remote_code)

    if device not in ("auto", "cpu"):
        builder()  # report a device that does not exist now, not with the first document
    sides = build_sides(sources, builder)
    return LearnedEncoder(
        name,
        documents=sides.documents,
        queries=sides.queries,
        vocabulary=FixedVocabulary(sides.terms),
        fingerprint=fingerprint(
            (sources.queries, sides.queries.settings), (sources.documents, sides.documents.settings)
        ),
        settings={**settings, **({} if dtype is None else {"dtype": dtype})},
    )


def find_sources(name: str, settings: Mapping[str, Any]) -> Sources:
    """Return the sources of both sides, with the card's and the caller's settings applied; no weights are read."""
    card = None if Path(name).expanduser().exists() else find_card(name)
    if card is not None:
        paired = {"query_model": card.query_checkpoint} if card.query_checkpoint else {}
        settings = {**card.settings, **paired, **settings}
    shipped = shipped_folder(card) if card else None
    folder = shipped or locate(card.checkpoint or name if card else name, known_names())
    sources = read_sources(folder, settings)
    queries, documents = sources.queries, sources.documents
    if "query_model" in settings:
        queries = read_sources(locate(str(settings["query_model"]), known_names()), settings).queries
    if "query_weights" in settings:
        weights = Path(str(settings["query_weights"])).expanduser()
        if not weights.is_file():
            raise UnknownEncoder(f"query_weights: there is no file {weights}")
        if not _reads_static_weights(override(queries.settings, settings, "query")):
            raise SettingError(
                "query_weights needs query_family='static', or query_lexical=True with a vocabulary head"
            )
        queries = dataclasses.replace(queries, static_weights=weights.resolve())
    return Sources(queries=_final(queries, settings, "query"), documents=_final(documents, settings, "document"))


def read_sources(folder: Path, settings: Mapping[str, Any]) -> Sources:
    """Return the sources of both sides, for a folder of any layout."""
    if is_own(folder):
        return read_own(folder)
    if is_sentence_transformers(folder):
        return read_sentence_transformers(folder)
    if has_adapter(folder):
        source = with_base(SideSource(folder, SideSettings()))
        sources = read_plain(source.folder, settings)
        adapted = dataclasses.replace(source, settings=sources.documents.settings)
        return Sources(queries=adapted, documents=adapted)
    if is_framework(folder):
        return read_framework(folder)
    if has_two_models(folder):
        return read_two_models(folder, settings)
    if has_onnx_alone(folder):
        return read_onnx(folder)
    if has_term_weights(folder):
        return read_term_weights(folder)
    return read_plain(folder, settings)


def _final(source: SideSource, settings: Mapping[str, Any], side: str) -> SideSource:
    source = dataclasses.replace(source, settings=override(source.settings, settings, side))
    if source.settings.family is Family.STATIC and source.static_weights is None:
        idf = source.folder / "idf.json"  # next to the model, as OpenSearch publishes it
        source = dataclasses.replace(source, static_weights=idf if idf.is_file() else None)
    return with_base(source)


def _reads_static_weights(settings: SideSettings) -> bool:
    return settings.family is Family.STATIC or (settings.lexical and settings.family is Family.MASKED_LM)


def _check_names(settings: Mapping[str, Any]) -> None:
    known = [*SIDE_SETTINGS, *(f"{side}_{name}" for side in ("query", "document") for name in SIDE_SETTINGS)]
    for setting in settings:
        if setting not in (*known, "query_model", "query_weights"):
            raise SettingError(
                f"there is no setting {setting!r}; the settings are {', '.join(SIDE_SETTINGS)}, each also with query_ "
                "or document_ in front, query_model and query_weights"
            )
