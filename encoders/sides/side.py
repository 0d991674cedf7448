"""The interface of query sides and document sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
