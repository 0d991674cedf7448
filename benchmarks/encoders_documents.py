r"""Documents per second of several encoders, measured alternately in one run, on a CPU.

    python -m benchmarks.encoders_documents lsr-mini lsr-mini:float32 'runs/nano/model?max_active_dims=500' bm25 \
        [--documents 512] [--words 90] [--rounds 3] [--threads 1]

The texts are SciFact's abstracts, cut to WORDS words (90 words are some 128 word pieces); each round has others, so
that an encoder that remembers words meets new ones. After a colon stands a dtype, after a question mark settings of
`load_encoder` as KEY=JSON&KEY=JSON. A JSON line for each encoder:
documents per second of wall-clock time in each round, and per second of the process's own time on all cores. On a
shared machine only the second can be compared between runs.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from encoders import load_encoder
from encoders.bm25 import BM25Encoder
from encoders.encoder import Encoder
from encoders.settings import DTYPES
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
    texts = [" ".join(one.text.split()[: given.words]) for one in lines if isinstance(one, Document)]
    if len(texts) < given.documents * (given.rounds + 1):
        raise SystemExit(f"{len(texts):,} abstracts are too few for {given.rounds} rounds of {given.documents:,}")
    loaded = {name: open_named(name) for name in given.encoders}
    wall: dict[str, list[float]] = {name: [] for name in loaded}
    own: dict[str, list[float]] = {name: [] for name in loaded}
    for encoder in loaded.values():
        if isinstance(encoder, BM25Encoder):
            encoder.measure(texts)
        encoder.encode_documents(texts[-64:])
    for round_ in range(given.rounds):
        part = texts[round_ * given.documents : (round_ + 1) * given.documents]
        for name, encoder in loaded.items():
            begun, begun_own = time.perf_counter(), time.process_time()
            encoder.encode_documents(part)
            wall[name].append(round(len(part) / (time.perf_counter() - begun), 1))
            own[name].append(round(len(part) / (time.process_time() - begun_own), 1))
    print(json.dumps({"machine": describe_machine(), "threads": torch.get_num_threads(), "documents": given.documents}))
    for name, encoder in loaded.items():
        shown = {"encoder": name, "dtype": encoder.dtype}
        print(json.dumps({**shown, "per_second": wall[name], "per_second_of_own_time": own[name]}))


def open_named(name: str, **more: Any) -> Encoder:
    """Return the encoder of NAME[:DTYPE][?KEY=JSON&...] on the CPU, with `more` settings."""
    spec, _, given = name.partition("?")
    settings = {key: json.loads(value) for key, _, value in (one.partition("=") for one in given.split("&") if one)}
    known, _, dtype = spec.rpartition(":")
    if dtype in DTYPES:
        spec, settings["dtype"] = known, dtype
    return load_encoder(spec, **{**settings, **more}, device="cpu")


if __name__ == "__main__":
    main()
