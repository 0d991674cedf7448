"""A checkpoint's tokenizer, set up once and then never changed, so that many threads may use it.

transformers changes a fast tokenizer's truncation and padding at every call, which fails with "Already borrowed" when
two threads meet. Here the tokenizer is copied, truncation is set when it is made, and padding is left to the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Encoding, Tokenizer, normalizers

from encoders.errors import CheckpointError, SettingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Tokenization:
    """Text to token ids, cut at `max_length` tokens (special ones counted, None: never), `prompt` before every text."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int | None,
        *,
        prompt: str = "",
        lower_case: bool = False,
    ) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise CheckpointError(f"{type(tokenizer).__name__} is not a fast tokenizer: tokenizer.json is missing")
        self._tokenizer = Tokenizer.from_str(backend.to_str())
        self._tokenizer.no_padding()
        if lower_case:
            before = [] if self._tokenizer.normalizer is None else [self._tokenizer.normalizer]
            self._tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if max_length is not None and max_length <= special:
            raise SettingError(f"max_length must be above {special}, the number of special tokens; got {max_length}")
        self._whole = Tokenizer.from_str(self._tokenizer.to_str())
        self._whole.no_truncation()
        self._tokenizer.no_truncation()
        if max_length is not None:
            # Truncation to the left keeps a text's end: a checkpoint says so in tokenizer_config.json.
            self._tokenizer.enable_truncation(max_length, direction=tokenizer.truncation_side)
        self._original = tokenizer
        self.max_length = max_length
        self.prompt = prompt
        self.n_special = special
        self.special_ids = frozenset(int(i) for i in tokenizer.all_special_ids)
        self.pad_id = int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else 0
        self.unknown_id = None if tokenizer.unk_token_id is None else int(tokenizer.unk_token_id)

    @property
    def tokens(self) -> list[str]:
        """Every token in the order of its id; an id that no token has is named `[unnamed 123]`."""
        by_id = {number: token for token, number in self._tokenizer.get_vocab(with_added_tokens=True).items()}
        return [by_id.get(number, f"[unnamed {number}]") for number in range(max(by_id) + 1)]

    def ids(self, texts: Sequence[str], *, special_tokens: bool = True, truncate: bool = True) -> list[list[int]]:
        """Return each text's token ids, with the model's special tokens around them unless told otherwise."""
        return [encoding.ids for encoding in self._encode(texts, special_tokens, truncate, offsets=False)]

    def save(self, folder: Path) -> None:
        """Write the tokenizer as transformers does."""
        self._original.save_pretrained(folder)

    def windows(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Return each text's consecutive pieces of up to max_length token ids, special tokens around each piece."""
        encoded = self._encode(texts, True, True, offsets=False)
        return [[encoding.ids, *(piece.ids for piece in encoding.overflowing)] for encoding in encoded]

    def encodings(self, texts: Sequence[str], *, special_tokens: bool, truncate: bool) -> list[Encoding]:
        """Return ids with the character offsets of each token in prompt + text, and its word's number."""
        return self._encode(texts, special_tokens, truncate, offsets=True)

    def _encode(self, texts: Sequence[str], special_tokens: bool, truncate: bool, *, offsets: bool) -> list[Encoding]:
        tokenizer = self._tokenizer if truncate else self._whole
        prompted = [self.prompt + text for text in texts] if self.prompt else list(texts)
        encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
        return encode(prompted, add_special_tokens=special_tokens)
