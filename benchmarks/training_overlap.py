"""Which documents and queries of a test collection are in the training texts.

python benchmarks/training_overlap.py docs/training/lsr-mini.toml data/scifact data/cranfield data/vaswani

Texts are compared as lower-case words. A test document counts as held if a training document or query has at least
half of its 8-word sequences (as a copy with another title, or a shortened one), and as touched if it has any; a test
query counts as held if it is a training query, or is part of a training document.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lsr.training.config import read_config
from lsr.training.pairs import read_pairs

_WORDS = re.compile(r"\w+")
_LENGTH = 8


def sequences(text: str) -> set[int]:
    """Return a hash for each sequence of eight words; of a shorter text one for the whole."""
    words = _WORDS.findall(text.lower())
    return {hash(tuple(words[i : i + _LENGTH])) for i in range(max(1, len(words) - _LENGTH + 1))} if words else set()


def lines(file: Path) -> Iterator[dict[str, str]]:
    """Yield the objects of a JSON lines file."""
    for line in file.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def held(tests: Iterable[set[int]], training: list[str]) -> tuple[int, int]:
    """Return of how many `tests` a training text has at least half, and of how many any."""
    listed = list(tests)
    where: dict[int, list[int]] = {}
    for number, one in enumerate(listed):
        for sequence in one:
            where.setdefault(sequence, []).append(number)
    most = [0.0] * len(listed)
    for text in training:
        found = Counter(number for sequence in sequences(text) for number in where.get(sequence, ()))
        for number, count in found.items():
            most[number] = max(most[number], count / len(listed[number]))
    return sum(share >= 0.5 for share in most), sum(share > 0 for share in most)


def main() -> None:
    """Print a line of JSON for each collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("collections", type=Path, nargs="+")
    given = parser.parse_args()
    pairs = read_pairs(read_config(given.config).data)
    training = pairs.documents + pairs.queries
    for folder in given.collections:
        documents = [f"{one.get('title', '')} {one.get('text', '')}" for one in lines(folder / "corpus.jsonl")]
        queries = [one["text"] for one in lines(folder / "queries.jsonl")]
        half, touched = held(map(sequences, documents), training)
        query_half, query_touched = held(map(sequences, queries), training)
        print(
            json.dumps(
                {
                    "collection": folder.name,
                    "documents": len(documents),
                    "documents_held": half,
                    "documents_touched": touched,
                    "queries": len(queries),
                    "queries_held": query_half,
                    "queries_touched": query_touched,
                }
            )
        )


if __name__ == "__main__":
    main()
