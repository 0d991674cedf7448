"""Grows a file of vectors to any number of documents: new ones resemble the old.

usage: python benchmarks/grow_vectors.py VECTORS.npz OUT.npz --docs 1000000 [--topics 20000] [--seed 5]

VECTORS.npz holds documents and queries as `lsr bench` reads them. OUT.npz holds its documents, its queries, and new
documents. Each mixes one of the first `--topics` documents (.6 of its terms), one of the 30 nearest to it (.35) and a
random one (.08); a weight is multiplied by log-normal noise, a term of several takes the largest. So a new document has
about as many terms as an old one, and topics have as many documents each as the collection is larger than they are
many. Prints a JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, vstack

NEIGHBOURS = 30
KEPT = (0.6, 0.35, 0.08)
NOISE = 0.3
BATCH = 10_000


def nearest(topics: csr_array) -> NDArray[np.int64]:
    """Return the neighbours of each topic by cosine, int64[n, NEIGHBOURS]."""
    unit = (diags_array(1 / np.sqrt(topics.multiply(topics).sum(axis=1))) @ topics).tocsr()
    found = np.empty((topics.shape[0], NEIGHBOURS), dtype=np.int64)
    for first in range(0, topics.shape[0], 500):
        cosines = (unit[first : first + 500] @ unit.T).toarray()
        rows = np.arange(cosines.shape[0])
        cosines[rows, first + rows] = -1
        found[first : first + 500] = np.argpartition(-cosines, NEIGHBOURS, 1)[:, :NEIGHBOURS]
    return found


def mixed(rng: np.random.Generator, topics: csr_array, neighbours: NDArray[np.int64], n: int) -> csr_array:
    """Return n new documents, float32 that float16 holds exactly."""
    first, random = rng.integers(0, topics.shape[0], (2, n))
    near = neighbours[first, rng.integers(0, NEIGHBOURS, n)]
    made: csr_array | None = None
    for rows, kept in zip((first, near, random), KEPT, strict=True):
        part: csr_array = topics[rows]
        part.data = part.data * (rng.random(part.nnz) < kept) * rng.lognormal(0, NOISE, part.nnz)
        made = part if made is None else made.maximum(part)
    grown = csr_array(made, dtype=np.float32)
    grown.data = grown.data.astype(np.float16).astype(np.float32)
    grown.eliminate_zeros()
    grown.sort_indices()
    return grown


def main() -> None:
    """Write OUT.npz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--docs", type=int, required=True)
    parser.add_argument("--topics", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    started = time.perf_counter()
    with np.load(given.vectors) as held:
        arrays: dict[str, Any] = {name: held[name] for name in held.files}
    indptr = arrays["d_indptr"].astype(np.int64)
    shape = (len(indptr) - 1, int(arrays["V"]))
    documents = csr_array((arrays["d_data"].astype(np.float32), arrays["d_indices"], indptr), shape=shape)
    documents.sort_indices()
    topics = documents[: given.topics]
    neighbours = nearest(topics)
    rng = np.random.default_rng(given.seed)
    parts = [documents[: given.docs]]
    missing = given.docs - shape[0]
    while missing > 0:
        parts.append(mixed(rng, topics, neighbours, min(missing, BATCH)))
        missing -= BATCH
    whole = vstack(parts, format="csr")
    arrays |= {"d_indptr": whole.indptr.astype(np.int64), "d_indices": whole.indices, "d_data": whole.data}
    np.savez(
        given.out, **{name: array for name, array in arrays.items() if name.partition("_")[0] in {"d", "q", "l", "V"}}
    )
    terms = {"terms": whole.nnz / whole.shape[0], "of the given": documents.nnz / shape[0]}
    print(json.dumps({"docs": whole.shape[0]} | terms | {"seconds": round(time.perf_counter() - started)}))


if __name__ == "__main__":
    main()
