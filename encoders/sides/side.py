"""The interface of query sides and document sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.settings import SideSettings
from encoders.text.tokenization import Tokenization


class Side(Protocol):
    """Turns checked texts into weights. Safe to call from many threads."""

    @property
    def settings(self) -> SideSettings:
        """The settings in force."""
        ...

    @property
    def tokenization(self) -> Tokenization:
        """Text to token ids."""
        ...

    @property
    def dtype(self) -> str | None:
        """The precision that a model computes in, such as "bfloat16"; None where no model has been read."""
        ...

    def encode(self, texts: Sequence[str]) -> csr_array:
        """Return float32 csr_array [len(texts), vocabulary], rows sorted by term, every weight above zero."""
        ...


@runtime_checkable
class DenseSide(Protocol):
    """A side whose model also computes a dense vector of each text, in the same pass as the weights or in its own."""

    @property
    def dense_size(self) -> int:
        """Numbers in a dense vector."""
        ...

    def encode_dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [len(texts), dense_size], rows of length 1; zeros for a blank text."""
        ...

    def encode_with_dense(self, texts: Sequence[str]) -> tuple[csr_array, NDArray[np.float32]]:
        """Return the results of `encode` and `encode_dense`, from one pass of the model."""
        ...
