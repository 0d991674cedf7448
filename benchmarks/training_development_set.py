"""Turn a file of pairs into a BEIR folder to develop on: every query, every document.

python benchmarks/training_development_set.py pubmedqa/pairs.jsonl dev/pubmedqa
python benchmarks/training_development_set.py medquad/pairs.jsonl.zst dev/medquad --where source=medquad/5_NIDDK_QA
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lsr.training.config import DataConfig
from lsr.training.held_out import write_beir
from lsr.training.pairs import read_pairs


def main() -> None:
    """Read the arguments, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--query", default="query")
    parser.add_argument("--document", default="text")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="take these rows alone")
    given = parser.parse_args()
    where: dict[str, tuple[str, ...]] = {}
    for one in given.where:
        name, _, value = one.partition("=")
        where[name] = (*where.get(name, ()), value)
    source = DataConfig(given.pairs, (given.query,), (given.document,), where, given.limit)
    pairs = read_pairs((source,))
    write_beir(pairs, given.out, range(len(pairs.queries)), range(len(pairs.documents)))
    print(f"{given.out}: {len(pairs.queries):,} queries, {len(pairs.documents):,} documents")


if __name__ == "__main__":
    main()
