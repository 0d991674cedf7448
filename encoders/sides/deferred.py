"""A document side whose model is read when the first document is encoded.

Searching with a static query side needs no model, so that opening such an encoder reads no weights and does not import
torch. Settings and tokenization, which the checkpoint's small files contain, are available at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property

from scipy.sparse import csr_array

from encoders.settings import SideSettings
from encoders.sides.side import Side
from encoders.text.tokenization import Tokenization


class DeferredSide:
    """Takes the place of the side that `build` returns. Safe to call from many threads."""

    def __init__(
        self,
        settings: SideSettings,
        tokenization: Callable[[], Tokenization],
        build: Callable[[Tokenization], Side],
        *,
        dense_size: int | None = None,
    ) -> None:
        """`settings` are those in force. `build` receives the result of `tokenization`; each is called once, and again
        after an error. `dense_size` is the length of the dense vector that the same pass makes, None without one.
        """
        self.settings = settings
        self.dense_size = dense_size
        self._tokenize = tokenization
        self._build = build
        self._built: Side | None = None
        self._building = threading.Lock()

    @cached_property
    def tokenization(self) -> Tokenization:
        """Text to token ids."""
        return self._tokenize()

    @property
    def dtype(self) -> str | None:
        """The precision that the model computes in; None until it is read."""
        return None if self._built is None else self._built.dtype

    def built(self) -> Side:
        """Return the side, and read its model if that has not been done; raise CheckpointError, ModelsMissing."""
        if self._built is None:
            with self._building:
                if self._built is None:
                    self._built = self._build(self.tokenization)
        return self._built

    def encode(self, texts: Sequence[str]) -> csr_array:
        """Return float32 csr_array [len(texts), vocabulary], rows sorted by term, every weight above zero."""
        return self.built().encode(texts)
