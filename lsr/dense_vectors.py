"""A collection's dense vectors: how each is made, and in which form it is kept.

A dense vector has no index. It rescores what the sparse vectors have found, and is never searched by itself. Its
encoder may be the one of a sparse vector: then one pass of the model makes both, so that the encoder is loaded once and
shared by all vectors with its name and settings. Without an encoder every document brings its own.

What is kept of a vector is its direction: a row of int8 (index.quantise), and the scale that makes the row's length 1.
So a score is a cosine; and a vector that is read back from a collection and written again, as export and reindex do,
becomes the same row.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.encoder import DenseEncoder
from encoders.errors import SettingError, UnknownEncoder
from encoders.models_extra import models_installed
from index import quantise
from lsr.documents import MAX_DIMENSIONS
from lsr.errors import EncoderMismatch, QueryError
from lsr.shared_encoders import shared_dense_encoder
from lsr.vectors import NamedVector, VectorConfig, check_vector_name

Quantised = tuple[NDArray[np.int8], NDArray[np.float32]]


class DenseSource:
    """The encoder of dense vectors, at its full size, loaded at first use. Safe to use from many threads."""

    def __init__(self, name: str, settings: Mapping[str, Any], sparse: NamedVector | None = None) -> None:
        """`sparse` is a named vector of the same encoder and settings: then its encoder is this one."""
        self.name = name
        self.settings = dict(settings)
        self.sparse = sparse
        self.device = "auto"
        self._encoder: DenseEncoder | None = None
        self._loading = threading.Lock()

    @property
    def encoder(self) -> DenseEncoder:
        """The encoder; raises UnknownEncoder, EncoderMismatch of the sparse vector, SettingError where it makes no
        dense vectors."""
        if self._encoder is None:
            with self._loading:
                if self._encoder is None:
                    self._encoder = self._load()
        return self._encoder

    def _load(self) -> DenseEncoder:
        if self.sparse is None:
            return shared_dense_encoder(self.name, self.settings, self.device)
        encoder = self.sparse.encoder
        if not isinstance(encoder, DenseEncoder) or encoder.dense_size is None:
            raise SettingError(f"{self.name} has no dense vectors")
        return encoder


class DenseVector:
    """One dense vector of an open collection. Safe to use from many threads."""

    def __init__(
        self,
        name: str,
        config: VectorConfig,
        source: DenseSource | None,
        *,
        dims: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """`source` None: always given ready-made; `fingerprint` None: nothing was encoded yet. Raises QueryError."""
        self.name = check_vector_name(name)
        self.config = config
        self.source = source
        self._dims = config.dimensions if dims is None else dims
        self._dtypes = set(config.dtypes)
        self._stored_dtypes = frozenset(config.dtypes)
        self._fingerprint = fingerprint
        self._encoder: DenseEncoder | None = None
        self._loading = threading.Lock()
        _check_dimensions(name, self._dims, needed=source is None)

    @property
    def encoder(self) -> DenseEncoder:
        """The encoder, whose vectors have `dims` numbers.

        Raises QueryError where there is none, EncoderMismatch when it is not the one that made the stored vectors.
        """
        if self._encoder is None:
            with self._loading:
                if self._encoder is None:
                    self._encoder = self._load()
        return self._encoder

    @property
    def dims(self) -> int:
        """Numbers in a vector; loads the encoder where nothing else says so."""
        if self._dims is None:
            self._dims = self.encoder.dense_size
        return int(self._dims or 0)

    @property
    def can_encode(self) -> bool:
        """Whether texts can be encoded here: there is an encoder, and the packages that its model needs."""
        return self.source is not None and models_installed()

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """Return a query's vector, float32[dims], of length 1; zeros for a blank text. Raises as `encoder` does."""
        vector: NDArray[np.float32] = self.encoder.encode_dense_queries([text])[0]
        return vector

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the encoder that made the stored vectors; None without an encoder."""
        return self._fingerprint if self._encoder is None else self._encoder.fingerprint

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The precisions that a model has computed stored vectors in, in alphabetical order; empty where none has."""
        return tuple(sorted(self._dtypes))

    @property
    def query_dtype(self) -> str | None:
        """The precision in which the model encodes queries here; None before it is read."""
        return None if self._encoder is None else self._encoder.dtype

    def note_dtype(self) -> None:
        """Record the precision in which the encoder has computed document vectors."""
        if self.encoder.dtype is not None:
            self._dtypes.add(self.encoder.dtype)

    def mark_stored(self) -> None:
        """Note that the catalog has this vector as it is now."""
        self._stored_dtypes = frozenset(self._dtypes)

    def forget_unstored(self) -> None:
        """Return to what the catalog has, after a write that failed."""
        self._dtypes = set(self._stored_dtypes)

    def setting(self) -> dict[str, Any]:
        """What the catalog stores, as JSON values."""
        return {
            "encoder": self.config.encoder,
            "settings": dict(self.config.settings),
            "dimensions": self.dims,
            "fingerprint": self.fingerprint,
            "dtypes": list(self.dtypes),
        }

    def cut(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return vectors of the source, float32[n, its size], as float32[n, dims]."""
        from encoders.dense import cut

        return cut(vectors, self.dims)

    def _load(self) -> DenseEncoder:
        from encoders.dense import with_dimensions

        if self.source is None:
            raise QueryError(f"the vector {self.name!r} has no encoder: give its dense vectors", field="using")
        try:
            encoder = with_dimensions(self.source.encoder, self._dims)
        except UnknownEncoder as error:
            if self._fingerprint is None or self.source.sparse is not None:
                raise
            raise UnknownEncoder(
                f"{error} It made the vectors {self.name!r} of this collection: bring it back to that place (a "
                "symbolic link will do), or encode again with another one: `lsr reindex`"
            ) from error
        except SettingError as error:
            raise QueryError(f"vectors.{self.name}: {error}", field=f"vectors.{self.name}") from error
        if self._fingerprint is not None and encoder.fingerprint != self._fingerprint:
            raise EncoderMismatch(
                f"the vectors {self.name!r} were made by {self.config.encoder!r} with fingerprint {self._fingerprint}, "
                f"but it has {encoder.fingerprint} now: bring the old one back, or encode again with `lsr reindex`"
            )
        return encoder


class Vectors(NamedTuple):
    """The named vectors of a collection."""

    sparse: Mapping[str, NamedVector]
    dense: Mapping[str, DenseVector]


NO_VECTORS: Final = Vectors({}, {})


def new_vectors(configs: Mapping[str, VectorConfig], kept: Vectors = NO_VECTORS) -> Vectors:
    """Return the vectors of a new collection; those in `kept` are another collection's. Raises QueryError."""
    names = {*kept.sparse, *kept.dense}
    located = {name: config.located() for name, config in configs.items() if name not in names}
    for name, config in located.items():
        if config.dimensions is not None and not config.dense:
            raise QueryError(f"vectors.{name}: only a dense vector has dimensions", field=f"vectors.{name}.dimensions")
    made = {name: NamedVector(name, config) for name, config in located.items() if not config.dense}
    sparse = {**kept.sparse, **made}
    if not sparse:
        raise QueryError(
            "vectors: a collection needs a sparse vector at least: a dense one only rescores what that has found",
            field="vectors",
        )
    sources = _sources({name: config for name, config in located.items() if config.dense}, sparse)
    dense = {name: DenseVector(name, located[name], source) for name, source in sources.items()}
    return Vectors(sparse, {**kept.dense, **dense})


def dense_from_settings(
    settings: Mapping[str, Mapping[str, Any]], sparse: Mapping[str, NamedVector]
) -> dict[str, DenseVector]:
    """Return the dense vectors that `DenseVector.setting` gave; raises KeyError, TypeError, QueryError."""
    configs = {
        name: VectorConfig(
            setting["encoder"],
            setting["settings"],
            dense=True,
            dimensions=setting["dimensions"],
            dtypes=tuple(setting.get("dtypes", ())),  # missing in older collections
        )
        for name, setting in settings.items()
    }
    sources = _sources(configs, sparse)
    return {
        name: DenseVector(name, configs[name], source, fingerprint=settings[name]["fingerprint"])
        for name, source in sources.items()
    }


def unit_rows(vectors: NDArray[np.floating[Any]]) -> Quantised:
    """Return vectors [n, dims] as they are kept: int8[n, dims], and float32[n], which makes each row's length 1.

    A row of zeros means "no vector": its scale is 0. Raises VectorError for NaN or infinity.
    """
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    steps, scale = quantise((exact / np.where(lengths > 0, lengths, 1)).astype(np.float32))
    squares = np.einsum("ij,ij->i", steps, steps, dtype=np.int64, casting="safe")
    return steps, np.where(scale > 0, 1 / np.sqrt(np.maximum(squares, 1)), 0).astype(np.float32)


def _sources(configs: Mapping[str, VectorConfig], sparse: Mapping[str, NamedVector]) -> dict[str, DenseSource | None]:
    """Return each dense vector's source; vectors with one encoder and one set of settings share it."""
    named = {_key(v.config): v for v in reversed(list(sparse.values())) if v.config.encoder is not None}
    shared: dict[str, DenseSource] = {}
    sources: dict[str, DenseSource | None] = {}
    for name, config in configs.items():
        if config.encoder is None:
            sources[name] = None
            continue
        key = _key(config)
        if key not in shared:
            shared[key] = DenseSource(config.encoder, config.settings, named.get(key))
        sources[name] = shared[key]
    return sources


def _key(config: VectorConfig) -> str:
    return json.dumps([config.encoder, dict(config.settings)], sort_keys=True)


def _check_dimensions(name: str, dims: object, *, needed: bool) -> None:
    field = f"vectors.{name}.dimensions"
    if dims is None:
        if needed:
            raise QueryError(f"{field}: without an encoder the number of dimensions is needed", field=field)
    elif isinstance(dims, bool) or not isinstance(dims, int) or not 0 < dims <= MAX_DIMENSIONS:
        raise QueryError(f"{field}: an integer from 1 to {MAX_DIMENSIONS} is needed, not {dims!r}", field=field)
