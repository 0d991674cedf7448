"""A checkpoint's tokenizer: its description for the `tokenizers` package, and the settings stored with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from encoders.errors import CheckpointError


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer. `content` is JSON, as in tokenizer.json; `save` writes the tokenizer's files into a folder."""

    name: str  # the folder, for messages
    content: str
    special_ids: frozenset[int]
    pad_id: int | None
    unknown_id: int | None
    mask_id: int | None
    max_length: int | None  # tokens, special ones counted; None: the checkpoint names no limit
    truncation_side: Literal["left", "right"]  # "left" keeps the end of a text
    save: Callable[[Path], None]

    def backend(self) -> Tokenizer:
        """Return a new tokenizer that cuts and pads nothing; raise CheckpointError for a wrong description."""
        try:
            tokenizer = Tokenizer.from_str(self.content)
        except Exception as error:  # the package raises no narrower class
            raise CheckpointError(f"{self.name}: the tokenizer cannot be read: {error}") from None
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
