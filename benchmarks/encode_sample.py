"""Encode the sample collection with lsr-mini, or check the stored vectors.

python benchmarks/encode_sample.py               writes samples/arxiv-10k.lsr-mini.npz
python benchmarks/encode_sample.py --check 100   encodes 100 documents again and compares; fails if one differs
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from encoders import load_encoder
from lsr.cli.sample_vectors import SampleVectors, encode_sample

SAMPLE = Path("samples") / "arxiv-10k.jsonl.zst"
VECTORS = Path("samples") / "arxiv-10k.lsr-mini.npz"


def main() -> None:
    """Print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=int, metavar="DOCUMENTS")
    given = parser.parse_args()
    # The stored vectors are the reference, so they are made and compared in float32, whatever the processor prefers.
    encoder = load_encoder("lsr-mini", dtype="float32")
    started = time.perf_counter()
    if given.check:
        different = SampleVectors.load(VECTORS).check(encoder, SAMPLE, given.check)
        print(json.dumps({"encoded_again": given.check, "different": different, "dtype": encoder.dtype}))
        raise SystemExit(1 if different else 0)
    vectors = encode_sample(encoder, SAMPLE)
    seconds = time.perf_counter() - started
    vectors.save(VECTORS)
    documents = vectors.weights.shape[0]
    print(
        json.dumps(
            {
                "documents": documents,
                "dtype": encoder.dtype,
                "terms_a_document": round(vectors.weights.nnz / documents, 1),
                "documents_per_second": round(documents / seconds, 1),
                "bytes": VECTORS.stat().st_size,
            }
        )
    )


if __name__ == "__main__":
    main()
