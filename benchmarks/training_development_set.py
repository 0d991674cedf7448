"""Turn a file of pairs into a BEIR folder to develop on: every query, every document.

python benchmarks/training_development_set.py pubmedqa/pairs.jsonl dev/pubmedqa
python benchmarks/training_development_set.py medquad/pairs.jsonl.zst dev/medquad --where source=medquad/5_NIDDK_QA
python benchmarks/training_development_set.py applied-02.jsonl.zst dev/claims --sentence last --limit 1031 \
    --others applied-00.jsonl.zst --others-limit 2200 --words 50

Long questions: each question after the first sentences of another document of its article (of the same title). Every
second document of an article gives such sentences, and is not a document of the set:
python benchmarks/training_development_set.py squadshifts-new_wiki.jsonl.zst dev/verbose --context title \
    --others squad2-dev-half.jsonl.zst --sample 1000

The first sentences of a document, 40 words or more, look for the rest of it:
python benchmarks/training_development_set.py applied-02.jsonl.zst dev/extracts --skip 1500 --limit 1000 --extract 40 \
    --others applied-01.jsonl.zst --others-limit 2200

Documents that are a title alone, found by the last sentence of the text, or by its first sentences:
python benchmarks/training_development_set.py applied-02.jsonl.zst dev/titles --query text --document title \
    --last-of-query --limit 1000 --others applied-01.jsonl.zst --others-limit 9000
python benchmarks/training_development_set.py msdocs/pairs.jsonl.zst dev/pages --query description --document title \
    --skip 10000 --limit 10000 --sample 1000
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable
from pathlib import Path

from lsr.training.config import DataConfig, Sentence
from lsr.training.held_out import write_beir
from lsr.training.pairs import Pairs, read_pairs
from lsr.training.unlabelled import sentence_and_rest

_SEED = 13
_CONTEXT_WORDS = 40  # of the sentences before a question, at least
_MOST_WORDS = 150  # of a query made of several sentences
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


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
    parser.add_argument("--skip", type=int, default=0, help="leave out the first queries, with their documents")
    parser.add_argument("--sample", type=int, help="keep this number of queries, drawn at random, and every document")
    parser.add_argument("--context", metavar="FIELD", help="questions follow sentences of a document of the same FIELD")
    parser.add_argument("--extract", type=int, metavar="WORDS", help="a document's first sentences look for its rest")
    parser.add_argument(
        "--last-of-query", action="store_true", help="the last sentence of the query field is the query"
    )
    parser.add_argument("--first-of-query", type=int, metavar="WORDS", help="its first sentences are the query")
    given = parser.parse_args()
    where: dict[str, tuple[str, ...]] = {}
    for one in given.where:
        name, _, value = one.partition("=")
        where[name] = (*where.get(name, ()), value)
    query = given.document if given.sentence else given.query
    limit = None if given.limit is None else given.limit + given.skip
    source = DataConfig(given.pairs, (query,), (given.document,), where, limit)
    pairs = _without_the_first(read_pairs((source,)), given.skip)
    if given.last_of_query:
        pairs = _parts_of_queries(pairs, lambda text: sentence_and_rest(text, last=True))
    if given.first_of_query:
        pairs = _parts_of_queries(pairs, lambda text: _first_sentences(text, given.first_of_query))
    if given.context:
        titles = read_pairs((DataConfig(given.pairs, (given.context,), (given.document,), where),))
        pairs = _with_context(pairs, titles)
    if given.extract:
        pairs = _extracts(pairs, given.extract)
    if given.sentence:
        pairs = _sentences(pairs, given.sentence)
    if given.others:
        others = DataConfig(given.others, (query,), (given.document,), {}, given.others_limit)
        for text in read_pairs((others,)).documents:
            pairs.add_document(text)
    if given.words is not None:
        pairs = _cut(pairs, given.words)
    queries = list(range(len(pairs.queries)))
    if given.sample is not None:
        queries = sorted(random.Random(_SEED).sample(queries, min(given.sample, len(queries))))
    write_beir(pairs, given.out, queries, range(len(pairs.documents)))
    print(f"{given.out}: {len(queries):,} queries, {len(pairs.documents):,} documents")


def _without_the_first(pairs: Pairs, n: int) -> Pairs:
    """Return the pairs of the queries from number n on."""
    if n == 0:
        return pairs
    rest = Pairs()
    for query, positives in zip(pairs.queries[n:], pairs.positives[n:], strict=True):
        for number in positives:
            rest.add(query, pairs.documents[number])
    return rest


def _parts_of_queries(pairs: Pairs, part: Callable[[str], tuple[str, str] | None]) -> Pairs:
    """Return the pairs with a part of each query in its place; a query without one is left out, its documents stay."""
    made = Pairs()
    for query, positives in zip(pairs.queries, pairs.positives, strict=True):
        found = part(query)
        for number in positives:
            if found is None:
                made.add_document(pairs.documents[number])
            else:
                made.add(found[0], pairs.documents[number])
    return made


def _with_context(pairs: Pairs, titles: Pairs) -> Pairs:
    """Return questions that follow the first sentences of another document of the same title (`titles` has the titles
    as queries). Every second document of a title gives sentences and is left out."""
    rng = random.Random(_SEED)
    contexts: dict[str, list[str]] = {}
    givers: set[str] = set()
    for numbers in titles.positives:
        texts = [titles.documents[number] for number in numbers]
        givers.update(texts[1::2])
        found = [
            context for context, _ in filter(None, (_first_sentences(text, _CONTEXT_WORDS) for text in texts[1::2]))
        ]
        contexts.update(dict.fromkeys(texts[::2], found))
    made = Pairs()
    for query, positives in zip(pairs.queries, pairs.positives, strict=True):
        texts = [pairs.documents[number] for number in positives if pairs.documents[number] not in givers]
        for text in texts:
            if contexts[text]:
                made.add(f"{rng.choice(contexts[text])} {query}", text)
    for text in pairs.documents:
        if text not in givers:
            made.add_document(text)
    return made


def _extracts(pairs: Pairs, words: int) -> Pairs:
    made = Pairs()
    for text in pairs.documents:
        found = _first_sentences(text, words)
        if found is None or len(found[1].split()) < words // 2:
            made.add_document(text)
        else:
            made.add(*found)
    return made


def _first_sentences(text: str, words: int) -> tuple[str, str] | None:
    """Return the first sentences of `words` words or more, and the rest; None if they would be too long."""
    sentences = _SENTENCE.split(text.strip())
    for n in range(1, len(sentences) + 1):
        length = len(" ".join(sentences[:n]).split())
        if length >= words:
            return (" ".join(sentences[:n]), " ".join(sentences[n:])) if length <= _MOST_WORDS else None
    return None


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
