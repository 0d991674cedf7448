"""Turn a file of pairs into a BEIR folder to develop on: every query, every document.

python benchmarks/training_development_set.py pubmedqa/pairs.jsonl dev/pubmedqa
python benchmarks/training_development_set.py medquad/pairs.jsonl.zst dev/medquad --where source=medquad/5_NIDDK_QA
python benchmarks/training_development_set.py applied-02.jsonl.zst dev/claims --sentence last --limit 1031 \
    --others applied-00.jsonl.zst --others-limit 2200 --words 50
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lsr.training.config import DataConfig, Sentence
from lsr.training.held_out import write_beir
from lsr.training.pairs import Pairs, read_pairs
from lsr.training.unlabelled import sentence_and_rest


def main() -> None:
    """Read the arguments, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--query", default="query")
    parser.add_argument("--sentence", type=Sentence, choices=list(Sentence), help="the query, taken out of the text")
    parser.add_argument("--document", default="text")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="take these rows alone")
    parser.add_argument("--others", help="a file whose documents answer nothing: they make it harder")
    parser.add_argument("--others-limit", type=int)
    parser.add_argument("--words", type=int, help="cut each document behind so many")
    given = parser.parse_args()
    where: dict[str, tuple[str, ...]] = {}
    for one in given.where:
        name, _, value = one.partition("=")
        where[name] = (*where.get(name, ()), value)
    query = given.document if given.sentence else given.query
    source = DataConfig(given.pairs, (query,), (given.document,), where, given.limit)
    pairs = read_pairs((source,))
    if given.sentence:
        pairs = _sentences(pairs, given.sentence)
    if given.others:
        others = DataConfig(given.others, (query,), (given.document,), {}, given.others_limit)
        for text in read_pairs((others,)).documents:
            pairs.add_document(text)
    if given.words is not None:
        pairs = _cut(pairs, given.words)
    write_beir(pairs, given.out, range(len(pairs.queries)), range(len(pairs.documents)))
    print(f"{given.out}: {len(pairs.queries):,} queries, {len(pairs.documents):,} documents")


def _sentences(pairs: Pairs, which: Sentence) -> Pairs:
    made = Pairs()
    for text in pairs.documents:
        found = sentence_and_rest(text, last=which is Sentence.LAST)
        if found is None:
            made.add_document(text)
        else:
            made.add(*found)
    return made


def _cut(pairs: Pairs, words: int) -> Pairs:
    cut = Pairs()
    texts = [" ".join(text.split()[:words]) for text in pairs.documents]
    for query, positives in zip(pairs.queries, pairs.positives, strict=True):
        for number in positives:
            cut.add(query, texts[number])
    for text in texts:
        cut.add_document(text)
    return cut


if __name__ == "__main__":
    main()
