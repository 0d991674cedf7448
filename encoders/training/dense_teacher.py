"""A dense bi-encoder as a teacher, read from a sentence-transformers folder with transformers alone.

    e(text) = normalise(mean or first of the last hidden states)        t(q, d) = e(q) . e(d)

The folders and the arithmetic are those of `load_dense_encoder`. A teacher reads queries and documents in the same way,
without prompts, and stores float16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.checkpoints.dense_builder import build_dense
from encoders.checkpoints.dense_layout import read_dense_pipeline, without_prompts
from encoders.compute.device import resolve_device, resolve_dtype

_TOGETHER = 8192  # texts whose lengths decide the batches


class DenseTeacher:
    """Text to normalised vectors."""

    def __init__(
        self, folder: Path, *, max_length: int | None = None, device: str = "auto", dtype: str = "auto"
    ) -> None:
        """`max_length` may shorten the texts. Raises CheckpointError for a folder with another kind of pipeline."""
        on = resolve_device(device)
        built = build_dense(without_prompts(read_dense_pipeline(folder)), on, resolve_dtype(dtype, on), max_length)
        self._model = built.documents
        self.fingerprint = built.fingerprint

    @property
    def size(self) -> int:
        """Dimensions."""
        return self._model.dense_size

    @property
    def max_length(self) -> int | None:
        """The number of word pieces that it reads of a text, special ones counted."""
        return self._model.tokenization.max_length

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> NDArray[np.float16]:
        """Return float16 [len(texts), size]; float16 keeps a cosine to three digits and halves the memory."""
        found = np.zeros((len(texts), self.size), dtype=np.float16)
        for start in range(0, len(texts), _TOGETHER):
            part = texts[start : start + _TOGETHER]
            found[start : start + len(part)] = self._model.encode_dense(part)
            if progress:
                progress(start + len(part))
        return found
