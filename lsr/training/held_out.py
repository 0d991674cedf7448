"""A development set from the training pairs: queries and documents that training never sees.

Written as a BEIR folder, which `lsr eval` reads.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from lsr.training.errors import TrainingDataError
from lsr.training.pairs import Pairs

SPLIT = "dev"


def hold_out(pairs: Pairs, folder: Path, *, queries: int, documents: int, seed: int, share: float = 1.0) -> Pairs:
    """Write `queries` queries with their documents, and others up to `documents` in all; return the remaining pairs.

    Of a small corpus, only the `share` of its queries and of its documents, and at least one query. A training query
    whose documents are all held out is removed too. Raises TrainingDataError if no pairs remain.
    """
    if share < 1.0:
        queries = min(queries, max(1, int(share * min(len(pairs.queries), len(pairs.documents)))))
        documents = min(documents, max(queries, int(share * len(pairs.documents))))
    order = list(range(len(pairs.queries)))
    random.Random(seed).shuffle(order)
    chosen = sorted(order[:queries])
    answers = {document for query in chosen for document in pairs.positives[query]}
    rest = [number for number in range(len(pairs.documents)) if number not in answers]
    random.Random(seed + 1).shuffle(rest)
    gone = answers | set(rest[: max(documents - len(answers), 0)])
    left = Pairs()
    excluded = set(chosen)
    for query, positives in enumerate(pairs.positives):
        if query not in excluded:
            for document in positives:
                if document not in gone:
                    left.add(pairs.queries[query], pairs.documents[document])
    for number, text in enumerate(pairs.documents):
        if number not in gone:
            left.add_document(text)
    if len(chosen) < queries or not left.queries:
        raise TrainingDataError(
            f"{len(pairs.queries)} queries and {len(pairs.documents)} documents are too few to hold out {queries} and "
            f"{documents} of them and train on the rest"
        )
    write_beir(pairs, folder, chosen, sorted(gone))
    return left


def write_beir(pairs: Pairs, folder: Path, queries: Iterable[int], documents: Iterable[int]) -> None:
    """Write these queries with their judgements, and these documents, by number, as a BEIR folder."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
        for number in documents:
            corpus.write(json.dumps({"_id": f"d{number}", "text": pairs.documents[number]}) + "\n")
    with (
        (folder / "queries.jsonl").open("w", encoding="utf-8") as texts,
        (folder / "qrels" / f"{SPLIT}.tsv").open("w", encoding="utf-8") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for query in queries:
            texts.write(json.dumps({"_id": f"q{query}", "text": pairs.queries[query]}) + "\n")
            for document in pairs.positives[query]:
                qrels.write(f"q{query}\td{document}\t1\n")
