"""SciFact as this repository has it, for the tools that evaluate."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

FOLDER = Path(__file__).parents[1] / "data" / "scifact"
# nDCG@10 of BM25 by exact search, README.md; `lsr eval --dataset tests/data/scifact --encoder bm25` prints it.
NDCG_OF_BM25 = 0.679


class SciFact(NamedTuple):
    """In beir's form: document id to title and text, query id to text, query id to document id to judgement."""

    corpus: dict[str, dict[str, str]]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def load() -> SciFact:
    """Read the whole collection: 5,183 documents, 300 queries."""
    with (FOLDER / "corpus.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        documents = [json.loads(line) for line in lines]
    queries = [json.loads(line) for line in (FOLDER / "queries.jsonl").read_text().splitlines()]
    qrels: dict[str, dict[str, int]] = {}
    with (FOLDER / "qrels" / "test.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    texts = {one["_id"]: one["text"] for one in queries if one["_id"] in qrels}
    return SciFact({one["_id"]: {"title": one["title"], "text": one["text"]} for one in documents}, texts, qrels)


def small(whole: SciFact, queries: int, others: int) -> SciFact:
    """Return the first queries with their judged documents and some other documents."""
    chosen: dict[str, Any] = dict(list(whole.qrels.items())[:queries])
    ids = {name for judged in chosen.values() for name in judged} | set(list(whole.corpus)[:others])
    return SciFact(
        {name: whole.corpus[name] for name in whole.corpus if name in ids},
        {name: whole.queries[name] for name in chosen},
        chosen,
    )
