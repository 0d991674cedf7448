"""`load_dense_encoder`: from a name or a path to an encoder of dense vectors, for rescoring.

There are two kinds: a sparse encoder whose document pass also computes a dense vector (lsr-mini), and any dense
retriever in a sentence-transformers folder with mean or CLS pooling. Both compute vectors of length 1. A vector may be
cut to its first dimensions and normalised again; models trained for that (Matryoshka) lose little, others more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.cards import find_card, known_names, shipped_folder
from encoders.encoder import DenseEncoder
from encoders.errors import SettingError
from encoders.models_extra import require_models
from encoders.settings import check_dtype
from encoders.sides.combined_calls import CombinedCalls
from encoders.text.checks import check_texts

if TYPE_CHECKING:
    from encoders.checkpoints.dense_builder import BuiltPipeline


def load_dense_encoder(
    name_or_path: str,
    device: str = "auto",
    dtype: str | None = None,
    dimensions: int | None = None,
    **settings: Any,
) -> DenseEncoder:
    """Return the encoder of that name or at that path; names are those of `load_encoder`.

    dtype       auto, float32, bfloat16, float16, or None for auto
    dimensions  keep only the first so many numbers of each vector, normalised again; None: all
    settings    of a sparse encoder, those of `load_encoder`; of a dense retriever, `max_length` (shorter than its own)

    Raises UnknownEncoder, CheckpointError, RemoteCodeRefused, ModelsMissing, DeviceUnavailable, and SettingError for an
    encoder without dense vectors, an unknown setting, or more dimensions than a vector has.
    """
    from encoders.loading import load_encoder

    name = str(name_or_path)
    if name == "bm25":
        raise SettingError("bm25 has no dense vectors")
    check_dtype(dtype)
    folder = _dense_folder(name)
    if folder is not None:
        return with_dimensions(_open_pipeline(name, folder, device, dtype, settings), dimensions)
    encoder = load_encoder(name, device=device, dtype=dtype, **settings)
    if not isinstance(encoder, DenseEncoder) or encoder.dense_size is None:
        raise SettingError(f"{name} has no dense vectors")
    return with_dimensions(encoder, dimensions)


def load_dense_with_settings(
    name_or_path: str, settings: Mapping[str, Any], device: str = "auto", dimensions: int | None = None
) -> DenseEncoder:
    """Return the encoder with settings from a file or a user: they cannot choose a device or allow remote code.

    Raises what `load_dense_encoder` raises; SettingError for such a setting.
    """
    from encoders.loading import check_stored_settings

    check_stored_settings(settings)
    return load_dense_encoder(name_or_path, device, dimensions=dimensions, **settings)


def with_dimensions(encoder: DenseEncoder, dimensions: int | None) -> DenseEncoder:
    """Return the encoder, or one with its vectors cut; raise SettingError for more dimensions than they have."""
    size = encoder.dense_size
    if size is None:
        raise SettingError(f"{encoder.name} has no dense vectors")
    if dimensions is None or dimensions == size:
        return encoder
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 0 < dimensions < size:
        raise SettingError(f"dimensions = {dimensions!r}: a vector of {encoder.name} has {size}")
    return _Cut(encoder, dimensions)


def cut(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Return the first `dimensions` numbers of vectors float32[n, size], each row normalised to length 1.

    A row of zeros stays a row of zeros.
    """
    if vectors.shape[1] == dimensions:
        return vectors
    kept = vectors[:, :dimensions]
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    shortened: NDArray[np.float32] = (kept / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return shortened


class PipelineEncoder:
    """A dense retriever of a sentence-transformers folder. Safe to call from many threads."""

    def __init__(self, name: str, built: BuiltPipeline, settings: Mapping[str, Any]) -> None:
        self._name = name
        self._built = built
        self._settings = dict(settings)
        self._encode_queries: CombinedCalls[NDArray[np.float32]] = CombinedCalls(built.queries.encode_dense)

    @property
    def name(self) -> str:
        """The name or path it was loaded by."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """A hash of the files and settings that decide the vectors; it does not cover device and precision."""
        return self._built.fingerprint

    @property
    def settings(self) -> dict[str, Any]:
        """What was set in place of the folder's own values, as JSON values."""
        return dict(self._settings)

    @property
    def dense_size(self) -> int | None:
        """Numbers in a vector."""
        return self._built.documents.dense_size

    @property
    def dtype(self) -> str | None:
        """The precision that the model computes in, such as "bfloat16"."""
        return self._built.documents.dtype

    def encode_dense_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [len(texts), dense_size], rows of length 1, zeros for a blank text; with its prompt."""
        return self._built.documents.encode_dense(check_texts(texts))

    def encode_dense_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [len(texts), dense_size], rows of length 1, zeros for a blank text; with its prompt.

        Calls that arrive at the same time are computed together.
        """
        return self._encode_queries(check_texts(texts))


class _Cut:
    """A dense encoder with vectors of fewer dimensions."""

    def __init__(self, encoder: DenseEncoder, dimensions: int) -> None:
        self._encoder = encoder
        self.dense_size: int | None = dimensions
        self._dimensions = dimensions

    @property
    def name(self) -> str:
        """As `DenseEncoder` says."""
        return self._encoder.name

    @property
    def fingerprint(self) -> str:
        """As `DenseEncoder` says."""
        return f"{self._encoder.fingerprint}-first-{self._dimensions}"

    @property
    def settings(self) -> dict[str, Any]:
        """As `DenseEncoder` says."""
        return {**self._encoder.settings, "dimensions": self._dimensions}

    @property
    def dtype(self) -> str | None:
        """As `DenseEncoder` says."""
        return self._encoder.dtype

    def encode_dense_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `DenseEncoder` says."""
        return cut(self._encoder.encode_dense_documents(texts), self._dimensions)

    def encode_dense_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `DenseEncoder` says."""
        return cut(self._encoder.encode_dense_queries(texts), self._dimensions)


def _dense_folder(name: str) -> Path | None:
    """Return the folder of a dense retriever; None for a sparse encoder; raise UnknownEncoder, SettingError."""
    from encoders.checkpoints.dense_layout import is_dense_pipeline
    from encoders.checkpoints.locate import locate
    from encoders.checkpoints.lsr_layout import is_own

    card = None if Path(name).expanduser().exists() else find_card(name)
    if card is not None:
        if shipped_folder(card) is None:
            raise SettingError(f"{name} has no dense vectors")
        return None
    folder = locate(name, known_names())
    return None if is_own(folder) or not is_dense_pipeline(folder) else folder


def _open_pipeline(
    name: str, folder: Path, device: str, dtype: str | None, settings: Mapping[str, Any]
) -> PipelineEncoder:
    require_models()
    from encoders.checkpoints.dense_builder import build_dense
    from encoders.checkpoints.dense_layout import read_dense_pipeline
    from encoders.compute.device import resolve_device, resolve_dtype

    for setting in settings:
        if setting != "max_length":
            raise SettingError(f"a dense retriever has no setting {setting!r}; it has max_length")
    max_length = settings.get("max_length")
    if max_length is not None and (isinstance(max_length, bool) or not isinstance(max_length, int)):
        raise SettingError(f"max_length = {max_length!r} is not valid")
    on = resolve_device(device)
    built = build_dense(read_dense_pipeline(folder), on, resolve_dtype(dtype or "auto", on), max_length)
    return PipelineEncoder(name, built, {**settings, **({} if dtype is None else {"dtype": dtype})})
