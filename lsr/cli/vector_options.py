"""Which named vectors `lsr index` makes: from `--vectors`, from a file's own notes, or from what its documents bring.

    --vectors default=lsr-mini,bm25=bm25,meaning=dense:lsr-mini

A name, and what makes it: an encoder; `dense:` and an encoder; or `none` and `dense` for vectors that every document
brings itself. `--setting NAME.KEY=VALUE` is a setting of one of them; a dense vector has the setting `dimensions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import typer

from lsr.cli.arguments import stored_name

if TYPE_CHECKING:
    from lsr.corpora import Corpus
    from lsr.vectors import VectorConfig

OPTION: Final = "--vectors"
_DENSE: Final = "dense"
_GIVEN: Final = "none"
_LOOKED_AT: Final = 1000  # documents, for the dense vectors that they bring


def parse_vectors(text: str, settings: Mapping[str, Any], corpus: Corpus) -> dict[str, VectorConfig]:
    """Return the named vectors that `--vectors` and `--setting` describe; raises typer.BadParameter.

    The dimensions of a dense vector without an encoder, where not given, are those that the corpus brings.
    """
    from lsr.vectors import VectorConfig

    configs: dict[str, VectorConfig] = {}
    for part in text.split(","):
        name, equals, made_by = (piece.strip() for piece in part.partition("="))
        if not name or not equals or not made_by:
            raise typer.BadParameter(f"{part!r} is not NAME=ENCODER", param_hint=OPTION)
        if name in configs:
            raise typer.BadParameter(f"{name} is given twice", param_hint=OPTION)
        kind, colon, encoder = made_by.partition(":")
        if kind == _DENSE and (colon or not encoder):
            configs[name] = VectorConfig(stored_name(encoder) if encoder else None, dense=True)
        else:
            configs[name] = VectorConfig(None if made_by == _GIVEN else stored_name(made_by))
    for key, value in settings.items():
        name, dot, setting = key.partition(".")
        if not dot or name not in configs:
            raise typer.BadParameter(
                f"{key}: with {OPTION}, a setting is NAME.KEY, the name one of {', '.join(configs)}",
                param_hint="--setting",
            )
        config = configs[name]
        if config.dense and setting == "dimensions":
            configs[name] = replace(config, dimensions=value)
        else:
            configs[name] = replace(config, settings={**config.settings, setting: value})
    unknown = [name for name, one in configs.items() if one.dense and one.encoder is None and one.dimensions is None]
    found = _brought(corpus) if unknown else {}
    return {name: replace(one, dimensions=found.get(name)) if name in unknown else one for name, one in configs.items()}


def dense_for_vectors(corpus: Corpus) -> dict[str, VectorConfig]:
    """Return the dense vectors of a corpus of ready-made vectors.

    An Arrow file may name their encoders, which are checked; otherwise every document brings its own. Raises
    EncoderMismatch, UnknownEncoder.
    """
    from lsr.corpora.arrow_vectors import ArrowVectorsCorpus
    from lsr.vectors import VectorConfig

    found = _brought(corpus)
    if not isinstance(corpus, ArrowVectorsCorpus):
        return {name: VectorConfig(None, dense=True, dimensions=dims) for name, dims in found.items()}
    configs = {}
    for name, column in corpus.dense.items():
        dims = column.dimensions or found.get(name)
        if column.encoder is not None:
            _check_encoder(corpus.name, column.encoder, dims)
            configs[name] = VectorConfig(
                column.encoder["encoder"],
                column.encoder["settings"],
                dense=True,
                dimensions=dims,
                dtypes=tuple(column.encoder.get("dtypes", ())),
            )
        elif dims is not None:  # a column of nulls says nothing
            configs[name] = VectorConfig(None, dense=True, dimensions=dims)
    return configs


def _brought(corpus: Corpus) -> dict[str, int]:
    """Return the dense vectors that the first documents bring, and their lengths."""
    from lsr.documents import DenseInput, Document

    found: dict[str, int] = {}
    for line in islice(corpus, _LOOKED_AT):
        if isinstance(line.content, Document):
            for name, vector in line.content.vectors.items():
                if isinstance(vector, DenseInput):
                    found.setdefault(name, len(vector.values))
    return found


def _check_encoder(source: str, note: Mapping[str, Any], dimensions: int | None) -> None:
    from encoders import load_dense_with_settings
    from lsr.errors import EncoderMismatch

    found = load_dense_with_settings(note["encoder"], note["settings"], dimensions=dimensions).fingerprint
    if found != note.get("fingerprint"):
        raise EncoderMismatch(
            f"the dense vectors of {source} were made by {note['encoder']!r} with fingerprint "
            f"{note.get('fingerprint')}, but it has {found} here: say with {OPTION} what made them"
        )
