"""A checkpoint's tokenizer, set up once and then never changed, so that many threads may use it.

transformers changes a fast tokenizer's truncation and padding at every call, which fails with "Already borrowed" when
two threads meet. Here the tokenizer is copied, truncation is set when it is made, and padding is left to the batch.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Encoding, Tokenizer, normalizers

from encoders.errors import CheckpointError, SettingError
from encoders.words import Word

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
        return [encoding.ids for encoding in self._encode(texts, special_tokens, truncate)]

    def save(self, folder: Path) -> None:
        """Write the tokenizer as transformers does."""
        self._original.save_pretrained(folder)

    def windows(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Return each text's consecutive pieces of up to max_length token ids, special tokens around each piece."""
        encoded = self._encode(texts, True, True)
        return [[encoding.ids, *(piece.ids for piece in encoding.overflowing)] for encoding in encoded]

    def words(self, text: str) -> list[Word]:
        """Return the words of `text` (not of the prompt), none cut off: the pieces that the tokenizer split of one word
        are folded into it, and its span is that of the original characters, before any normalisation."""
        encoding = self._whole.encode(text, add_special_tokens=False)
        words: list[Word] = []
        pieces = zip(encoding.word_ids, encoding.ids, encoding.offsets, strict=True)
        for _, group in itertools.groupby(enumerate(pieces), key=lambda entry: _word_key(entry[0], entry[1][0])):
            parts = [piece for _, piece in group]
            start, end = min(span[0] for _, _, span in parts), max(span[1] for _, _, span in parts)
            while start < end and text[start].isspace():
                start += 1  # byte-level and sentence-piece tokenizers count the space before a word to it
            while end < len(text) and unicodedata.combining(text[end]):
                end += 1  # an accent that normalisation took away still belongs to its letter
            ids = tuple(token for _, token, _ in parts if token not in self.special_ids)
            if start < end:
                words.append(Word(start, end, ids))
        return words

    def _encode(self, texts: Sequence[str], special_tokens: bool, truncate: bool) -> list[Encoding]:
        tokenizer = self._tokenizer if truncate else self._whole
        prompted = [self.prompt + text for text in texts] if self.prompt else list(texts)
        return tokenizer.encode_batch_fast(prompted, add_special_tokens=special_tokens)


def _word_key(position: int, word: int | None) -> tuple[str, int]:
    """Return what the pieces of one word have in common; a piece that is of no word stands alone."""
    return ("word", word) if word is not None else ("piece", position)
