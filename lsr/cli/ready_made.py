"""Which encoder a collection of ready-made vectors gets: the one that made them, as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsr.corpora import Corpus
from lsr.corpora.arrow_vectors import ArrowVectorsCorpus
from lsr.errors import EncoderMismatch
from lsr.vectors import VectorConfig


def config_for_vectors(corpus: Corpus, encoder: str | None, settings: Mapping[str, Any]) -> VectorConfig:
    """Return the vector's configuration for a corpus of ready-made vectors.

    An Arrow file of `lsr encode` names its encoder, and `encoder` may only say where that is now. For other files
    `encoder` is believed; without it the collection takes sparse queries only. Raises EncoderMismatch, UnknownEncoder.
    """
    note = corpus.encoder if isinstance(corpus, ArrowVectorsCorpus) else None
    if note is None:
        return VectorConfig(encoder, settings)
    from encoders import load_encoder

    name = encoder or note["encoder"]
    made = {**note["settings"], **settings}
    found = load_encoder(name, **made).fingerprint
    if found != note.get("fingerprint"):
        raise EncoderMismatch(
            f"{corpus.name} was made by {note['encoder']!r} with fingerprint {note.get('fingerprint')}, "
            f"but {name!r} has {found} here: give the path of the right one as --encoder"
        )
    return VectorConfig(name, made)
