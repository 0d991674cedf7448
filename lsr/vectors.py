"""A collection's named vectors: the encoder of each, and the meaning of its term numbers.

A named vector has an encoder ("bm25", a model), or none: then documents and queries bring their own sparse vectors. Its
vocabulary is the model's, which is fixed, or grows with the documents. A growing vocabulary is stored in the catalog;
a term's number never changes.

Ready-made vectors name their terms by token or by index. With an encoder an index is the vocabulary's number. Without
one the numbers are not shared, so index 17 means the token "17".
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scipy.sparse import csr_array

from encoders.encoder import Encoder, Vocabulary
from encoders.errors import SettingError, UnknownEncoder
from encoders.vocabulary import GrowingVocabulary
from index import IndexConfig
from index.errors import ConfigError
from lsr import settings as lsr_settings
from lsr.documents import DEFAULT_VECTOR, SparseByToken, SparseInput
from lsr.errors import EncoderMismatch, QueryError
from lsr.shared_encoders import shared_encoder

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class VectorConfig:
    """How one named vector is made. `encoder` None: every vector is given ready-made.

    `settings` are the encoder's, `dtype` among them: the precision that its model computes in. `dtypes` are the
    precisions of ready-made vectors, if known. A `dense` one has no index: it only rescores what the
    sparse ones have found. `dimensions` cuts it to its first numbers; without an encoder it is their number.
    """

    encoder: str | None = field(default_factory=lambda: lsr_settings.DEFAULT_ENCODER)
    settings: Mapping[str, Any] = field(default_factory=dict)
    index: IndexConfig = field(default_factory=IndexConfig)
    dense: bool = False
    dimensions: int | None = None
    dtypes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise SettingError for settings without an encoder, which nothing would read."""
        if self.encoder is None and self.settings:
            raise SettingError(
                f"{next(iter(self.settings))!r} is a setting of an encoder, and these vectors are given ready-made"
            )

    def located(self) -> VectorConfig:
        """Return the configuration with an absolute checkpoint path, which is valid from every folder."""
        if self.encoder is None or self.encoder in lsr_settings.BUILT_IN_ENCODERS:
            return self
        folder = Path(self.encoder).expanduser()
        return replace(self, encoder=str(folder.resolve())) if folder.is_dir() else self


def with_index_settings(
    configs: Mapping[str, VectorConfig], settings: Mapping[str, Any], option: str
) -> dict[str, VectorConfig]:
    """Return the vectors with build parameters of the index, see index.IndexConfig.

    settings  KEY: of every sparse vector; NAME.KEY: of the vector NAME, which has priority
    option    what the caller calls them, for messages

    Raises QueryError, which names the setting, for an unknown vector or parameter, a value out of range and a dense
    vector.
    """
    changed = {name: config for name, config in configs.items() if not config.dense}
    common = {key: value for key, value in settings.items() if "." not in key}
    own: dict[str, dict[str, Any]] = {name: dict(common) for name in changed}
    for key, value in settings.items():
        name, dot, parameter = key.partition(".")
        if not dot:
            continue
        if name not in configs:
            raise QueryError(f"{option} {key}: no vector {name!r}; there is {', '.join(configs)}", field=key)
        if name not in changed:
            raise QueryError(f"{option} {key}: {name} is a dense vector, which has no index", field=key)
        own[name][parameter] = value
    for name, values in own.items():
        try:
            index = IndexConfig.from_json({**changed[name].index.to_json(), **values})
        except ConfigError as error:
            raise QueryError(f"{option}: {error}", field=error.field) from None
        changed[name] = replace(changed[name], index=index)
    return {name: changed.get(name, config) for name, config in configs.items()}


def check_vector_name(name: str) -> str:
    """Return a vector's name, or raise QueryError."""
    if not _NAME.fullmatch(name):
        raise QueryError(
            f"vectors: {name!r} is not a vector name: a-z, 0-9, _ and -, at most 63, the first not _ or -",
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
        self._measured = False  # whether the average length is newer than the catalog
        self.device = "auto"  # where the encoder runs; not stored in the collection
        self._dtypes = set(config.dtypes)
        self._stored_dtypes = frozenset(config.dtypes)
        self._fingerprint = fingerprint
        self._tokens = list(tokens)
        self._encoder: Encoder | None = None
        self._own_vocabulary = GrowingVocabulary(tokens) if config.encoder is None else None
        self._loading = threading.Lock()
        self._measuring = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        """The encoder; raises EncoderMismatch if it is not the one that produced the stored vectors."""
        if self._encoder is None:
            with self._loading:
                if self._encoder is None:
                    self._encoder = self._load()
        return self._encoder

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the term numbers."""
        return self._own_vocabulary if self._own_vocabulary is not None else self.encoder.vocabulary

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the encoder that produced the stored vectors; None without an encoder."""
        return self._fingerprint if self._encoder is None else self._encoder.fingerprint

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The precisions that a model has made stored vectors in, in alphabetical order; empty where none has.

        Several, where processors differ: the fingerprint is the same for all of them.
        """
        return tuple(sorted(self._dtypes))

    @property
    def query_dtype(self) -> str | None:
        """The precision in which a model encodes queries here; None where they are looked up, and before it is read."""
        return None if self._encoder is None or self._encoder.looks_queries_up else self._encoder.dtype

    @property
    def term_count(self) -> int:
        """The vocabulary's size, without loading a model if the catalog has it."""
        if self.config.encoder is not None and self._encoder is None and self._tokens:
            return len(self._tokens)
        return len(self.vocabulary)

    @property
    def needs_average_length(self) -> bool:
        """Whether BM25 still needs its average length, which the first documents fix permanently."""
        return self.config.encoder is not None and self.encoder.settings.get("average_length", 0.0) is None

    def encode_documents(self, texts: Sequence[str]) -> csr_array:
        """Return the texts' vectors, float32 csr_array [len(texts), len(vocabulary)]; raise EncoderError.

        BM25 without an average length takes it from these texts.
        """
        if self.needs_average_length:
            self.measure(texts)
        rows = self.encoder.encode_documents(texts)
        self.note_dtype()
        return rows

    def note_dtype(self) -> None:
        """Record the precision in which the encoder has computed document vectors."""
        if self.encoder.dtype is not None:
            self._dtypes.add(self.encoder.dtype)

    def measure(self, texts: Iterable[str]) -> None:
        """Fix the average length, unless another thread has done it. Raises StatisticsMissing without a text."""
        with self._measuring:
            if self.needs_average_length:
                self.encoder.measure(texts)  # type: ignore[attr-defined] # only BM25 needs it
                self._measured = True

    def with_index(self, index: IndexConfig) -> NamedVector:
        """Return the same vector for a collection whose index has other build parameters."""
        found = copy.copy(self)
        found.config = replace(self.config, index=index)
        return found

    def setting(self) -> dict[str, Any]:
        """What the catalog stores, as JSON values."""
        settings = dict(self.config.settings) if self._encoder is None else dict(self._encoder.settings)
        return {
            "encoder": self.config.encoder,
            "settings": settings,
            "fingerprint": self.fingerprint,
            "index": self.config.index.to_json(),
            "dtypes": list(self.dtypes),
        }

    @classmethod
    def from_setting(cls, name: str, setting: Mapping[str, Any], tokens: Sequence[str]) -> NamedVector:
        """Return the vector that `setting` describes."""
        config = VectorConfig(
            setting["encoder"],
            setting["settings"],
            IndexConfig.from_json(setting["index"]),
            dtypes=tuple(setting.get("dtypes", ())),  # missing in older collections
        )
        return cls(name, config, fingerprint=setting["fingerprint"], tokens=tokens)

    def new_tokens(self) -> list[str]:
        """Return the tokens that are not in the catalog yet, in order; empty for a model's vocabulary."""
        if self.config.encoder is not None and self._encoder is None:
            return []
        vocabulary = self.vocabulary
        if not vocabulary.grows:
            return []
        return vocabulary.tokens(range(self.persisted_terms, len(vocabulary)))

    def mark_stored(self, terms: int) -> None:
        """Note that the catalog has this vector as it is now, with `terms` tokens of its vocabulary."""
        self.persisted_terms = terms
        self._measured = False
        self._stored_dtypes = frozenset(self._dtypes)

    def forget_unstored(self) -> None:
        """Return to what the catalog has: new tokens, a new average length and new precisions go.

        Called after a write that failed, while no other write is being encoded.
        """
        self._dtypes = set(self._stored_dtypes)
        if self.config.encoder is not None and self._encoder is None:
            return
        if isinstance(self.vocabulary, GrowingVocabulary):
            self.vocabulary.forget(self.persisted_terms)
        if self._measured:
            self.encoder.forget_measure()  # type: ignore[attr-defined] # only BM25 is measured
            self._measured = False

    def dictionary(self) -> list[str]:
        """Return the tokens of a growing vocabulary by their numbers; empty for a model's. Loads no encoder."""
        if self._own_vocabulary is not None:
            return self._own_vocabulary.tokens(range(len(self._own_vocabulary)))
        if self._encoder is None:
            return list(self._tokens)
        vocabulary = self._encoder.vocabulary
        return vocabulary.tokens(range(len(vocabulary))) if vocabulary.grows else []

    def tokens_of(self, vector: SparseInput) -> list[str]:
        """Return the tokens of a ready-made vector's terms; raises IndexError."""
        if isinstance(vector, SparseByToken):
            return list(vector.weights)
        if self._own_vocabulary is not None:
            return list(map(str, vector.indices))
        return self.vocabulary.tokens(vector.indices)

    def _load(self) -> Encoder:
        try:
            encoder = shared_encoder(str(self.config.encoder), self.config.settings, self.device)
        except UnknownEncoder as error:
            if self._fingerprint is None:
                raise
            raise UnknownEncoder(
                f"{error} It produced the vectors {self.name!r} of this collection: put it back at that path (a "
                "symbolic link is enough), or encode the documents again with another encoder: `lsr reindex`"
            ) from error
        if self._fingerprint is not None and encoder.fingerprint != self._fingerprint:
            raise EncoderMismatch(
                f"the vectors {self.name!r} were produced by {self.config.encoder!r} with fingerprint "
                f"{self._fingerprint}, but it now has {encoder.fingerprint}: restore the old version, or encode the "
                "documents again with `lsr reindex`"
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
    raise QueryError(f"no vector {using!r}; the vectors are: {', '.join(sorted(vectors))}", field="using")
