"""English text to terms, as in Lucene's EnglishAnalyzer.

Five steps: words by Unicode's word boundaries (UAX 29, as in Lucene's StandardTokenizer), possessive 's removed,
lower case, Lucene's 33 stop words removed, Porter's stemmer. BM25's published figures depend on exactly these.

Words. A run of letters, digits and underscores is a word. Between two letters one of : . ' (and their Unicode
variants) does not end it, nor between two digits one of , ; . ' -- so "U.S.A", "can't" and "3,000.5" are one word each
and "covid-19" is two. Ideographs and Hiragana are one word each; Katakana, Thai and similar scripts are not split.

Stems. Lucene's Porter stemmer is Martin Porter's own program with its two departures from his paper, bli -> ble and
logi -> log, and with words of one or two letters unchanged; Snowball's "porter" (PyStemmer) is the paper. `_departing`
adds the departures, which matters in scientific text: without them "histology" and "histological" have two stems.

Stemming takes most of the time, so each thread remembers the words it has seen. Finding words beyond ASCII comes next,
so where positions are needed the words of runs are remembered too (encoders.text.word_cache): no word crosses a space.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Container, Sequence

import regex
import Stemmer

from encoders.text.word_cache import Runs

# Part of fingerprints: change it whenever the terms of a text may change.
ANALYSIS = "english-1"

# fmt: off
STOP_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
))
# fmt: on

_MAX_WORD = 255  # Lucene's limit; a longer run of characters is cut into pieces of this length
_REMEMBERED = 500_000  # words that a thread remembers before it forgets all: about 70 MB at most

_ASCII_WORD = re.compile(r"\w+(?:(?:(?<=[a-zA-Z])[:.'](?=[a-zA-Z])|(?<=[0-9])[,;.'](?=[0-9]))\w+)*", re.ASCII)

# WB4 attaches marks, joiners and variation selectors to the character before them; E is any number of them.
_E = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"
_LETTER = rf"[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}]{_E}"
_DIGIT = rf"\p{{WB=Numeric}}{_E}"
_UNDERSCORES = rf"(?:\p{{WB=ExtendNumLet}}{_E})++"
_WITHIN_LETTERS = rf"[\p{{WB=MidLetter}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{_E}"
_WITHIN_DIGITS = rf"[\p{{WB=MidNum}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{_E}"
_LETTERS = rf"(?:{_LETTER})++(?:{_WITHIN_LETTERS}(?:{_LETTER})++)*+"
_DIGITS = rf"(?:{_DIGIT})++(?:{_WITHIN_DIGITS}(?:{_DIGIT})++)*+"
_UNICODE_WORD = regex.compile(
    rf"(?:{_UNDERSCORES})?+(?:{_LETTERS}|{_DIGITS})++(?:{_UNDERSCORES}(?:{_LETTERS}|{_DIGITS})*+)*+"
    rf"|[\p{{Han}}\p{{Hiragana}}]{_E}|(?:\p{{WB=Katakana}}{_E})++|(?:[\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}]{_E})++"
)

# Where the two departures apply, after step 1 of the stemmer has turned -y, -ies and -is into -i.
_DEPARTING = re.compile(r"(.+)(bl|log)(?:y|i|is|ies)", re.DOTALL)
# A vowel, then a consonant: Porter's measure m of a stem is above zero. y is a vowel after a consonant.
_MEASURE_ABOVE_ZERO = re.compile(r"[aeiou][^aeiou]|(?<=[^aeiouy])y[^aeiou]")


class EnglishAnalysis:
    """Turns texts into terms. Safe to use from many threads: each has its own stemmer and memory of words."""

    def __init__(self) -> None:
        self._of_thread = threading.local()
        self._runs = Runs(self._words_of_run)  # shared by all threads: each run is analysed once

    def terms(self, text: str) -> list[str]:
        """Return the text's terms in order, with repetitions, without stop words."""
        known = self._memory()
        return [term for term in [known[word] for word in words(text)] if term]

    def words(self, text: str, among: Container[str] | None = None) -> list[tuple[int, int, str]]:
        """Return (start, end, term) of each word in order; the term of a stop word is empty.

        With `among`, only the words whose term is one of those.
        """
        found = []
        for offset, words_of_run in self._runs.of(text):
            for start, end, term in words_of_run:
                if among is None or term in among:
                    found.append((offset + start, offset + end, term))
        return found

    def _memory(self) -> _Memory:
        memory: _Memory | None = getattr(self._of_thread, "memory", None)
        if memory is None or len(memory) > _REMEMBERED:
            memory = self._of_thread.memory = _Memory()
        return memory

    def _words_of_run(self, run: str) -> list[tuple[int, int, str]]:
        known = self._memory()
        found = []
        for match in (_ASCII_WORD if run.isascii() else _UNICODE_WORD).finditer(run):
            for start in range(match.start(), match.end(), _MAX_WORD):
                end = min(start + _MAX_WORD, match.end())
                found.append((start, end, known[run[start:end].lower()]))
        return found


def words(text: str) -> list[str]:
    """Return the text's words, lower-cased, before possessives, stop words and stemming."""
    lowered = text.lower()
    if lowered.isascii():
        found = _ASCII_WORD.findall(lowered)
    else:
        found = _UNICODE_WORD.findall(lowered)
    if max(map(len, found), default=0) > _MAX_WORD:
        return [word[i : i + _MAX_WORD] for word in found for i in range(0, len(word), _MAX_WORD)]
    return found


def terms_of(words: Sequence[str]) -> list[str]:
    """Return the term of each lower-case ASCII word of letters alone, empty for a stop word.

    The same as `EnglishAnalysis.terms`, in one call and without remembering: for a whole vocabulary.
    """
    stems = Stemmer.Stemmer("porter", 0).stemWords([_departing(word) if len(word) > 2 else word for word in words])
    return [
        "" if word in STOP_WORDS else stem if len(word) > 2 else word for word, stem in zip(words, stems, strict=True)
    ]


class _Memory(dict[str, str]):
    """A word's term; empty for a stop word, and for a run of underscores, which is not a word."""

    def __init__(self) -> None:
        super().__init__()
        # No cache: this dictionary is one.
        self._stem = Stemmer.Stemmer("porter", 0).stemWord

    def __missing__(self, word: str) -> str:
        bare = word[:-2] if word.endswith(("'s", "’s", "＇s")) else word
        if bare in STOP_WORDS or not bare.strip("_"):
            term = ""
        elif len(bare) <= 2:
            term = bare
        else:
            term = self._stem(_departing(bare))
        self[word] = term
        return term


def _departing(word: str) -> str:
    """Return a word whose stem in Porter's paper is the stem of `word` in his program."""
    match = _DEPARTING.fullmatch(word)
    if match and _MEASURE_ABOVE_ZERO.search(match[1]):
        return f"{match[1]}{match[2]}e" if match[2] == "bl" else f"{match[1]}log"
    return word
