"""Write samples/arxiv-10k.jsonl.zst: 10,000 arXiv titles and abstracts, the collection that `make demo` indexes.

usage: make_sample.py SHARD.jsonl.zst [--documents 10000] [--out samples/arxiv-10k.jsonl.zst]

SHARD holds lines {id, cat, date, title, text} (arXiv metadata, CC0; Geiger 2020, doi 10.5281/zenodo.1463242), already
shuffled, so its first lines are a random sample. Records without a title, an abstract of at least 200 characters or a
date are skipped. The shard's ids were once converted to floats ("1802.0748600000002", "1409.807"): the digits are
restored, so that https://arxiv.org/abs/<id> works. The same shard gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from pathlib import Path

import zstandard


def sample(shard: Path, documents: int) -> list[dict[str, object]]:
    """Return the first `documents` usable records of `shard`, as lsr documents."""
    chosen: list[dict[str, object]] = []
    seen: set[str] = set()
    with shard.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            record = json.loads(line)
            title, text = " ".join(record["title"].split()), " ".join(record["text"].split())
            identifier = repaired_id(record["id"])
            if not title or len(text) < 200 or not record["date"] or identifier in seen:
                continue
            seen.add(identifier)
            chosen.append(
                {
                    "id": identifier,
                    "title": title,
                    "text": text,
                    "metadata": {"category": record["cat"], "date": record["date"]},
                }
            )
            if len(chosen) == documents:
                return chosen
    raise SystemExit(f"{shard}: only {len(chosen)} usable records")


def repaired_id(identifier: str) -> str:
    """Return `arxiv:YYMM.NNNN` (to 2014) or `arxiv:YYMM.NNNNN` (from 2015) for an id that was once read as a float."""
    match = re.fullmatch(r"arxiv:(\d{3,4}\.\d+)", identifier)
    if match is None:
        return identifier  # the old style: arxiv:physics/0001001
    number = float(match[1])
    return f"arxiv:{number:010.5f}" if number >= 1501 else f"arxiv:{number:09.4f}"


def main() -> None:
    """Write the sample and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shard", type=Path)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("samples/arxiv-10k.jsonl.zst"))
    options = parser.parse_args()
    lines = "".join(json.dumps(d, ensure_ascii=False) + "\n" for d in sample(options.shard, options.documents))
    packed = zstandard.ZstdCompressor(level=19).compress(lines.encode())
    options.out.write_bytes(packed)
    print(f"{options.out}: {options.documents} documents, {len(packed):,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
