"""Documents per second of several encoders, measured alternately in one run, on a CPU.

    python benchmarks/encoders_documents.py lsr-mini runs/nano/model bm25 [--documents 512] [--words 90] [--rounds 3]

The texts are SciFact's abstracts, cut to WORDS words (90 words are some 128 word pieces). A JSON line for each encoder:
documents per second of wall-clock time in each round, and per second of the process's own time on all cores. On a
shared machine only the second can be compared between runs.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from encoders import load_encoder
from encoders.bm25 import BM25Encoder
from eval.machine import describe_machine
from lsr.corpora import open_corpus
from lsr.documents import Document

SCIFACT = Path(__file__).parents[1] / "tests" / "data" / "scifact"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--words", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    lines = (line.content for line in open_corpus(str(SCIFACT / "corpus.jsonl.zst")))
    texts = [" ".join(one.text.split()[: given.words]) for one in lines if isinstance(one, Document)][: given.documents]
    loaded = {name: load_encoder(name) for name in given.encoders}
    wall: dict[str, list[float]] = {name: [] for name in loaded}
    own: dict[str, list[float]] = {name: [] for name in loaded}
    for encoder in loaded.values():
        if isinstance(encoder, BM25Encoder):
            encoder.measure(texts)
        encoder.encode_documents(texts[:64])
    for _ in range(given.rounds):
        for name, encoder in loaded.items():
            begun, begun_own = time.perf_counter(), time.process_time()
            encoder.encode_documents(texts)
            wall[name].append(round(len(texts) / (time.perf_counter() - begun), 1))
            own[name].append(round(len(texts) / (time.process_time() - begun_own), 1))
    print(json.dumps({"machine": describe_machine(), "threads": torch.get_num_threads(), "documents": len(texts)}))
    for name, encoder in loaded.items():
        shown = {"encoder": name, "dtype": encoder.dtype}
        print(json.dumps({**shown, "per_second": wall[name], "per_second_of_own_time": own[name]}))


if __name__ == "__main__":
    main()
