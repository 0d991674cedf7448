"""A collection's named vectors: how each is made, and what its term numbers mean.

A named vector belongs to an encoder ("bm25", a model), or to none: then documents and queries bring their own sparse
vectors. Its vocabulary is the model's, which is fixed, or one that grows with the documents. A growing one is kept
in the catalog; a number, once given, never changes.

Ready-made vectors name their terms by token or by index. With an encoder an index is the vocabulary's number. Without
one there is no number that both sides know, so index 17 stands for the token "17".
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from encoders.encoder import Encoder, Vocabulary
from encoders.errors import UnknownEncoder
from encoders.vocabulary import GrowingVocabulary
from index import IndexConfig
from lsr import settings as lsr_settings
from lsr.documents import DEFAULT_VECTOR, SparseByToken, SparseInput
from lsr.errors import EncoderMismatch, QueryError

DEFAULT_ENCODER = lsr_settings.DEFAULT_ENCODER

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class VectorConfig:
    """How one named vector is made. `encoder` None: every vector is given ready-made.

    A `dense` one has no index: it only rescores what the sparse ones have found. `dimensions` cuts it to its first
    numbers; without an encoder it says how many there are.
    """

    encoder: str | None = field(default_factory=lambda: DEFAULT_ENCODER)
    settings: Mapping[str, Any] = field(default_factory=dict)
    index: IndexConfig = field(default_factory=IndexConfig)
    dense: bool = False
    dimensions: int | None = None

    def located(self) -> VectorConfig:
        """Return the configuration with the path of a checkpoint made absolute: it is used from other folders, too."""
        if self.encoder is None or self.encoder == "bm25":
            return self
        folder = Path(self.encoder).expanduser()
        return replace(self, encoder=str(folder.resolve())) if folder.is_dir() else self


def check_vector_name(name: str) -> str:
    """Return a vector's name, or raise QueryError."""
    if not _NAME.fullmatch(name):
        raise QueryError(
            f"vectors: {name!r} is no vector name: a-z, 0-9, _ and -, at most 63, none of _ - first",
            field=f"vectors.{name}",
        )
    return name


class NamedVector:
    """One named vector of an open collection. The encoder is loaded at first use. Safe to use from many threads."""

    def __init__(
        self, name: str, config: VectorConfig, *, fingerprint: str | None = None, tokens: Sequence[str] = ()
    ) -> None:
        """`fingerprint` None means that nothing has been encoded yet; `tokens` restore a growing vocabulary."""
        self.name = check_vector_name(name)
        self.config = config
        self.persisted_terms = len(tokens)
        self.device = "auto"  # where the encoder runs, once it is loaded; no part of the collection
        self._fingerprint = fingerprint
        self._tokens = list(tokens)
        self._encoder: Encoder | None = None
        self._ready_made = GrowingVocabulary(tokens) if config.encoder is None else None
        self._loading = threading.Lock()
        self._measuring = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        """The encoder; raises EncoderMismatch when it is not the one that made the stored vectors."""
        if self._encoder is None:
            with self._loading:
                if self._encoder is None:
                    self._encoder = self._load()
        return self._encoder

    @property
    def vocabulary(self) -> Vocabulary:
        """What the term numbers mean."""
        return self._ready_made if self._ready_made is not None else self.encoder.vocabulary

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the encoder that made the stored vectors; None where there is no encoder."""
        return self._fingerprint if self._encoder is None else self._encoder.fingerprint

    @property
    def term_count(self) -> int:
        """How many terms the vocabulary has, without loading a model for it when the catalog knows."""
        if self.config.encoder is not None and self._encoder is None and self._tokens:
            return len(self._tokens)
        return len(self.vocabulary)

    @property
    def needs_average_length(self) -> bool:
        """Whether BM25 waits for its average length, which the first documents fix for good."""
        return self.config.encoder is not None and self.encoder.settings.get("average_length", 0.0) is None

    def measure(self, texts: Iterable[str]) -> None:
        """Fix the average length; harmless when another thread was faster. Raises StatisticsMissing without a text."""
        with self._measuring:
            if self.needs_average_length:
                self.encoder.measure(texts)  # type: ignore[attr-defined] # only BM25 needs it

    def setting(self) -> dict[str, Any]:
        """What the catalog stores, as JSON values."""
        settings = dict(self.config.settings) if self._encoder is None else dict(self._encoder.settings)
        return {
            "encoder": self.config.encoder,
            "settings": settings,
            "fingerprint": self.fingerprint,
            "index": self.config.index.to_json(),
        }

    @classmethod
    def from_setting(cls, name: str, setting: Mapping[str, Any], tokens: Sequence[str]) -> NamedVector:
        """Return the vector that `setting` gave."""
        config = VectorConfig(setting["encoder"], setting["settings"], IndexConfig.from_json(setting["index"]))
        return cls(name, config, fingerprint=setting["fingerprint"], tokens=tokens)

    def new_tokens(self) -> list[str]:
        """Return the tokens that the catalog does not have yet, in order; empty for a model's vocabulary."""
        if self.config.encoder is not None and self._encoder is None:
            return []
        vocabulary = self.vocabulary
        if not vocabulary.grows:
            return []
        return vocabulary.tokens(range(self.persisted_terms, len(vocabulary)))

    def dictionary(self) -> list[str]:
        """Return the tokens of a growing vocabulary by their numbers; empty for a model's. Loads no encoder."""
        if self._ready_made is not None:
            return self._ready_made.tokens(range(len(self._ready_made)))
        if self._encoder is None:
            return list(self._tokens)
        vocabulary = self._encoder.vocabulary
        return vocabulary.tokens(range(len(vocabulary))) if vocabulary.grows else []

    def tokens_of(self, vector: SparseInput) -> list[str]:
        """Return the tokens that a ready-made vector's terms stand for; raises IndexError."""
        if isinstance(vector, SparseByToken):
            return list(vector.weights)
        if self._ready_made is not None:
            return list(map(str, vector.indices))
        return self.vocabulary.tokens(vector.indices)

    def _load(self) -> Encoder:
        from encoders import load_encoder  # PyTorch may stand behind it

        try:
            encoder = load_encoder(str(self.config.encoder), device=self.device, **self.config.settings)
        except UnknownEncoder as error:
            if self._fingerprint is None:
                raise
            raise UnknownEncoder(
                f"{error} It made the vectors {self.name!r} of this collection: bring it back to that place (a "
                "symbolic link will do), or encode again with another one: `lsr reindex`"
            ) from error
        if self._fingerprint is not None and encoder.fingerprint != self._fingerprint:
            raise EncoderMismatch(
                f"the vectors {self.name!r} were made by {self.config.encoder!r} with fingerprint {self._fingerprint}, "
                f"but it has {encoder.fingerprint} now: bring the old one back, or encode again with `lsr reindex`"
            )
        if encoder.vocabulary.grows:
            encoder.vocabulary.add(self._tokens)
        return encoder


def vector_of(vectors: Mapping[str, NamedVector], using: str) -> NamedVector:
    """Return the vector `using`; "default" also means the only one. Raises QueryError."""
    if using in vectors:
        return vectors[using]
    if using == DEFAULT_VECTOR and len(vectors) == 1:
        return next(iter(vectors.values()))
    raise QueryError(f"there is no vector {using!r}; there is {', '.join(sorted(vectors))}", field="using")
