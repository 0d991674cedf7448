"""lsr-mini on a CPU with our own forward pass and with transformers': documents per second, and time of a dense query.

    python benchmarks/encoders_lsr_mini.py [--documents 96] [--rounds 2]

The abstracts and queries are SciFact's. Each way is measured alternately, in both precisions; a JSON line for each:
documents per second of all rounds, and milliseconds of a dense query at the 50th and 99th percentile. transformers
computes once its model has been asked for (encoders.compute.transformer.BertBody).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from encoders import load_encoder
from lsr.corpora import open_corpus
from lsr.documents import Document

SCIFACT = Path(__file__).parents[1] / "tests" / "data" / "scifact"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    lines = (line.content for line in open_corpus(str(SCIFACT / "corpus.jsonl.zst")))
    texts = [one.text for one in lines if isinstance(one, Document)][: arguments.documents]
    queries = [json.loads(line)["text"] for line in (SCIFACT / "queries.jsonl").read_text().splitlines()][:120]
    for dtype in ("bfloat16", "float32"):
        ways: dict[str, Any] = {}
        for way in ("own", "transformers"):
            ways[way] = load_encoder("lsr-mini", device="cpu", dtype=dtype)
            ways[way].encode_documents(texts[:8])
        _ = ways["transformers"].documents.body.model
        rates: dict[str, list[float]] = {way: [] for way in ways}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way, encoder in ways.items():
                begun = time.perf_counter()
                encoder.encode_documents(texts)
                rates[way].append(round(len(texts) / (time.perf_counter() - begun), 1))
                for query in queries:
                    begun = time.perf_counter()
                    encoder.encode_dense_queries([query])
                    times[way].append(1000 * (time.perf_counter() - begun))
        for way in ways:
            milliseconds = np.percentile(times[way], (50, 99)).round(2).tolist()
            print(json.dumps({"way": way, "dtype": dtype, "documents_per_s": rates[way], "query_ms": milliseconds}))


if __name__ == "__main__":
    main()
