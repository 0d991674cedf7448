"""A SPLADE-like collection of millions of documents, written in parts, generated from real SPLADE-encoded queries.

usage: python benchmarks/scale_vectors.py FOLDER --docs 8800000 --topics FILE.tsv.gz ... [--seed 11] [--part 100000]

FILE.tsv.gz has one query per line: its id, a tab, and its terms, each repeated as often as its weight in hundredths
(the form in which Anserini publishes encoded queries). 1,000 of the first file's are kept as queries; the others are
topics. A document mixes four related topics, with dropout and log-normal noise, and adds about 60 background terms:
about 106 terms per document. A larger collection has more topics, not more documents per topic: beyond a million
documents every topic gets variants, one per million, which keep three quarters of its terms, and add some terms of a
neighbour and some random terms; the variants with the same number are neighbours of each other. FOLDER gets queries.npz
(indptr, indices, data, V) and part-00000.npz … (indptr, indices uint16, data float16).
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from scipy.sparse import csr_array, diags_array

N_QUERIES = 1000
NEIGHBOURS = 30
LONGEST = 320


def read_topics(path: Path, vocabulary: dict[str, int]) -> list[Counter[int]]:
    """Return each query of the file as weights by term number; adds new terms to `vocabulary`."""
    rows = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            terms = line.rstrip("\n").split("\t")[1].split()
            rows.append(Counter(vocabulary.setdefault(term, len(vocabulary)) for term in terms))
    return rows


def as_matrix(rows: list[Counter[int]], n_terms: int) -> csr_array:
    """Return the rows as float32 CSR, with weights converted from hundredths."""
    start = np.cumsum([0, *map(len, rows)])
    terms = np.concatenate([np.fromiter(row, np.int32, len(row)) for row in rows])
    weights = np.concatenate([np.fromiter(row.values(), np.float32, len(row)) for row in rows]) / np.float32(100)
    matrix = csr_array((weights, terms, start), shape=(len(rows), n_terms))
    matrix.sort_indices()
    return matrix


def nearest(topics: csr_array) -> np.ndarray:
    """Return the neighbours of each topic by cosine, int64[n, NEIGHBOURS]."""
    unit = (diags_array(1 / np.sqrt(topics.multiply(topics).sum(axis=1))) @ topics).tocsr()
    found = np.empty((topics.shape[0], NEIGHBOURS), dtype=np.int64)
    for first in range(0, topics.shape[0], 1000):
        cosines = (unit[first : first + 1000] @ unit.T).toarray()
        found[first : first + 1000] = np.argpartition(-cosines, NEIGHBOURS, 1)[:, :NEIGHBOURS]
    return found


def with_variants(topics: csr_array, neighbours: np.ndarray, variants: int, rng: np.random.Generator) -> Any:
    """Return (topics, neighbours) with `variants` variants of every topic; the first is unchanged."""
    n, n_terms = topics.shape
    rows: list[Counter[int]] = []
    for _ in range(1, variants):
        for topic in range(n):
            row: Counter[int] = Counter()
            other = neighbours[topic, rng.integers(NEIGHBOURS)]
            for source, share in ((other, 0.25), (topic, 0.75)):
                at = slice(topics.indptr[source], topics.indptr[source + 1])
                for term, weight in zip(topics.indices[at].tolist(), topics.data[at].tolist(), strict=True):
                    if rng.random() < share:
                        row[term] = round(100 * weight)
            for term in rng.integers(0, n_terms, 3).tolist():
                row[term] = max(row[term], 1 + int(60 * rng.exponential()))
            rows.append(row)
    every = [topics] if not rows else [topics, as_matrix(rows, n_terms)]
    stacked = csr_array(
        (
            np.concatenate([part.data for part in every]),
            np.concatenate([part.indices for part in every]),
            np.cumsum(np.concatenate([[0], *(np.diff(part.indptr) for part in every)])),
        ),
        shape=(n * variants, n_terms),
    )
    return stacked, np.concatenate([neighbours + n * variant for variant in range(variants)])


@njit(cache=True)
def grow(n_docs, start, terms, weights, neighbours, cumulated, seed, out_start, out_terms, out_weights):
    """Write `n_docs` documents and return their number of impacts."""
    np.random.seed(seed)
    held = np.zeros(len(cumulated), np.float32)
    touched = np.empty(4096, np.int32)
    place = 0
    for d in range(n_docs):
        n_touched = 0
        topic = np.random.randint(len(start) - 1)
        for j in range(4):
            source = topic if j == 0 else neighbours[topic, np.random.randint(neighbours.shape[1])]
            share = np.random.uniform(0.7, 1.3) if j == 0 else np.random.uniform(0.15, 0.75)
            keep = 0.8 if j == 0 else 0.6
            for t in range(start[source], start[source + 1]):
                if np.random.random() < keep:
                    value = share * weights[t] * np.exp(0.3 * np.random.randn())
                    if held[terms[t]] == 0:
                        touched[n_touched] = terms[t]
                        n_touched += 1
                    held[terms[t]] = max(held[terms[t]], value)
        for _ in range(np.random.poisson(60)):
            term = np.searchsorted(cumulated, np.random.random())
            if held[term] == 0:
                touched[n_touched] = term
                n_touched += 1
            held[term] = max(held[term], np.random.exponential(0.35))
        n = 0
        for term in np.sort(touched[:n_touched]):
            if n < LONGEST and held[term] > 0.01:
                out_terms[place] = term
                out_weights[place] = held[term]
                place += 1
                n += 1
            held[term] = 0
        out_start[d + 1] = place
    return place


def main() -> None:
    """Write the parts, then the queries: a folder with queries.npz is complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=int, required=True)
    parser.add_argument("--topics", type=Path, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--part", type=int, default=100_000)
    options = parser.parse_args()
    began = time.perf_counter()
    vocabulary: dict[str, int] = {}
    first, *more = [read_topics(path, vocabulary) for path in options.topics]
    if len(vocabulary) > 2**16:
        parser.error(f"{len(vocabulary)} terms are more than the 65,536 that a part's uint16 can name")
    rng = np.random.default_rng(options.seed)
    order = rng.permutation(len(first))
    queries = as_matrix([first[i] for i in order[:N_QUERIES]], len(vocabulary))
    topics = as_matrix([first[i] for i in order[N_QUERIES:]] + [row for rows in more for row in rows], len(vocabulary))
    mass = np.bincount(topics.indices, minlength=len(vocabulary)) ** 0.75 + 0.3
    cumulated = np.cumsum(mass / mass.sum())
    cumulated[-1] = 1.0
    topics, neighbours = with_variants(topics, nearest(topics), -(-options.docs // 1_000_000), rng)
    print(json.dumps({"terms": len(vocabulary), "topics": topics.shape[0], "seconds": time.perf_counter() - began}))
    options.folder.mkdir(parents=True)
    out_start = np.zeros(options.part + 1, dtype=np.int64)
    out_terms = np.empty(options.part * LONGEST, dtype=np.uint16)
    out_weights = np.empty(options.part * LONGEST, dtype=np.float32)
    for number, begin in enumerate(range(0, options.docs, options.part)):
        n_docs = min(options.part, options.docs - begin)
        n = grow(
            n_docs, topics.indptr.astype(np.int64), topics.indices.astype(np.int64), topics.data.astype(np.float32),
            neighbours, cumulated, options.seed + number, out_start, out_terms, out_weights,
        )  # fmt: skip
        np.savez(
            options.folder / f"part-{number:05d}.npz",
            indptr=out_start[: n_docs + 1],
            indices=out_terms[:n],
            data=out_weights[:n].astype(np.float16),
        )
        print(json.dumps({"docs": begin + n_docs, "seconds": time.perf_counter() - began}), flush=True)
    np.savez(
        options.folder / "queries.npz",
        indptr=queries.indptr.astype(np.int64),
        indices=queries.indices.astype(np.int32),
        data=queries.data.astype(np.float32),
        V=len(vocabulary),
    )


if __name__ == "__main__":
    main()
