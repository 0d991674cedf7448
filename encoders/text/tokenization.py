"""A checkpoint's tokenizer, set up once and then never changed, so that many threads may use it.

transformers changes a fast tokenizer's truncation and padding at every call, which fails with "Already borrowed" when
two threads meet. Here the tokenizer is copied, truncation is set once, and padding is left to the batch.
"""

from __future__ import annotations

import copy
import json
import unicodedata
from collections.abc import Collection, Sequence, Set
from functools import cached_property
from pathlib import Path

from tokenizers import Encoding, Tokenizer, normalizers

from encoders.errors import SettingError
from encoders.text.conflation import conflated_terms
from encoders.text.run_ids import RunIds
from encoders.text.tokenizer import LoadedTokenizer
from encoders.text.word_cache import Runs
from encoders.text.words import Word


class Tokenization:
    """Text to token ids, cut at `max_length` tokens (special ones counted, None: never), `prompt` before every text.

    A token's term is its own number, or with `conflate` the one of encoders.text.conflation.
    """

    def __init__(
        self,
        tokenizer: LoadedTokenizer,
        max_length: int | None,
        *,
        prompt: str = "",
        lower_case: bool = False,
        conflate: bool = False,
    ) -> None:
        self._tokenizer = tokenizer.backend()
        if lower_case:
            before = [] if self._tokenizer.normalizer is None else [self._tokenizer.normalizer]
            self._tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if max_length is not None:
            if max_length <= special:
                raise SettingError(
                    f"max_length must be above {special}, the number of special tokens; got {max_length}"
                )
            self._tokenizer.enable_truncation(max_length, direction=tokenizer.truncation_side)
        self._loaded = tokenizer
        self.max_length = max_length
        self.prompt = prompt
        self.n_special = special
        self.special_ids = tokenizer.special_ids
        self.pad_id = tokenizer.pad_id or 0
        self.unknown_id = tokenizer.unknown_id
        self._term_of = conflated_terms(self.tokens).tolist() if conflate else None

    @cached_property
    def tokens(self) -> list[str]:
        """Every token in the order of its id; an id without a token is named `[unnamed 123]`."""
        by_id = {number: token for token, number in self._tokenizer.get_vocab(with_added_tokens=True).items()}
        return [by_id.get(number, f"[unnamed {number}]") for number in range(max(by_id) + 1)]

    @cached_property
    def _added(self) -> tuple[int, int]:
        """The number of special tokens that the tokenizer adds before a text, and after it."""
        mask = next(
            (mask for text in ("a", "0", ".") if 0 in (mask := self._whole.encode(text).special_tokens_mask)), None
        )
        if mask is None:
            return self.n_special, 0
        return mask.index(0), mask[::-1].index(0)

    def own_positions(self, ids: Sequence[int]) -> list[bool]:
        """Return for each token whether it is the text's own, not one that the tokenizer adds (CLS, SEP, ...).

        `ids` are of a text with its special tokens. A special token that the text itself contains is its own, as in
        the tokenizer's special_tokens_mask.
        """
        before, after = self._added
        inside = max(0, len(ids) - before - after)
        return [False] * min(before, len(ids)) + [True] * inside + [False] * (len(ids) - inside - min(before, len(ids)))

    @cached_property
    def _whole(self) -> Tokenizer:
        """The tokenizer that does not cut texts. A copy, because other threads use the one that does."""
        if self.max_length is None:
            return self._tokenizer
        whole = copy.deepcopy(self._tokenizer)
        whole.no_truncation()
        return whole

    @cached_property
    def _runs(self) -> Runs[tuple[int, ...]] | None:
        return Runs(self._words_of) if _splits_at_spaces(self._loaded.content) else None

    def ids(self, texts: Sequence[str], *, special_tokens: bool = True, truncate: bool = True) -> list[list[int]]:
        """Return each text's token ids, by default with the model's special tokens around them."""
        if self._run_ids is None:
            return [encoding.ids for encoding in self._encode(texts, special_tokens, truncate)]
        limit = self.max_length if truncate else None
        before, after = self._special_around if special_tokens else ([], [])
        own = self._run_ids.of([self.prompt + text for text in texts] if self.prompt else texts)
        if limit is not None:
            room = limit - len(before) - len(after)
            own = [one if len(one) <= room else self._cut(one, room) for one in own]
        return [[*before, *one, *after] for one in own] if before or after else own

    def _cut(self, ids: list[int], room: int) -> list[int]:
        return ids[len(ids) - room :] if self._loaded.truncation_side == "left" else ids[:room]

    @cached_property
    def _run_ids(self) -> RunIds | None:
        """The ids of runs, where the ids of a text are those of its runs."""
        _, after = self._special_around
        if not after or not _splits_at_spaces(self._loaded.content):
            return None
        whole = self._whole
        return RunIds(
            lambda texts: [one.ids for one in whole.encode_batch_fast(texts, add_special_tokens=False)],
            self.tokens[after[-1]],
            after[-1],
        )

    @cached_property
    def _special_around(self) -> tuple[list[int], list[int]]:
        """The special tokens before and after a text."""
        before, _ = self._added
        ids = self._whole.encode("").ids
        return ids[:before], ids[before:]

    def terms(self, ids: Sequence[int]) -> list[int]:
        """Return the term of each token."""
        return list(ids) if self._term_of is None else [self._term_of[token] for token in ids]

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into a folder."""
        self._loaded.save(folder)

    def windows(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Return each text's consecutive pieces of up to max_length token ids, special tokens around each piece."""
        encoded = self._encode(texts, True, True)
        return [[encoding.ids, *(piece.ids for piece in encoding.overflowing)] for encoding in encoded]

    def words(self, text: str, term_ids: Collection[int] | None = None) -> list[Word]:
        """Return all words of `text` (not of the prompt): the pieces of a word are folded into it, and its span counts
        the original characters, before any normalisation.

        With `term_ids`, only the words that contain one of these terms.
        """
        wanted = None if term_ids is None else set(term_ids) - self.special_ids
        if self._runs is None:
            return [Word(*word) for word in self._words_of(text, wanted)]
        return [
            Word(offset + start, offset + end, pieces)
            for offset, words_of_run in self._runs.of(text)
            for start, end, pieces in words_of_run
            if wanted is None or not wanted.isdisjoint(pieces)
        ]

    def _words_of(self, text: str, wanted: Set[int] | None = None) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return (start, end, term ids) of each word, or of those that contain one of `wanted`."""
        encoding = self._whole.encode(text, add_special_tokens=False)
        ids = self.terms(encoding.ids)
        hits = [position for position, token in enumerate(ids) if wanted is None or token in wanted]
        if not hits:
            return []
        numbers, offsets = encoding.word_ids, encoding.offsets
        words = []
        after = 0  # the position after the last word's pieces
        for position in hits:
            if position < after:
                continue
            first, after = _pieces_around(numbers, position)
            start = min(span[0] for span in offsets[first:after])
            end = max(span[1] for span in offsets[first:after])
            while start < end and text[start].isspace():
                start += 1  # for byte-level and sentence-piece tokenizers the space before a word is part of it
            while end < len(text) and unicodedata.combining(text[end]):
                end += 1  # an accent that normalisation removed still belongs to its letter
            if start < end:
                words.append((start, end, tuple(token for token in ids[first:after] if token not in self.special_ids)))
        return words

    def _encode(self, texts: Sequence[str], special_tokens: bool, truncate: bool) -> list[Encoding]:
        tokenizer = self._tokenizer if truncate else self._whole
        prompted = [self.prompt + text for text in texts] if self.prompt else list(texts)
        return tokenizer.encode_batch_fast(prompted, add_special_tokens=special_tokens)


def _splits_at_spaces(tokenizer_json: str) -> bool:
    """Return whether the tokens of a text are those of the runs between its spaces, as with BERT's tokenizers."""
    content = json.loads(tokenizer_json)
    parts = [(content.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer")]
    spacing = any(" " in token["content"] or token["lstrip"] or token["rstrip"] for token in content["added_tokens"])
    return parts == ["BertNormalizer", "BertPreTokenizer"] and not spacing


def _pieces_around(numbers: list[int | None], position: int) -> tuple[int, int]:
    """Return the first and last position + 1 of the pieces of the word at `position`; a piece of no word is alone."""
    first, end = position, position + 1
    if numbers[position] is not None:
        while first > 0 and numbers[first - 1] == numbers[position]:
            first -= 1
        while end < len(numbers) and numbers[end] == numbers[position]:
            end += 1
    return first, end
