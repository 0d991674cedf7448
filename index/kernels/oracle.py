"""What the kernels compute, written to be read: plain Python and NumPy, slow, used by tests only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Document = list[tuple[int, float]]


def canonical_scores(documents: list[Document], query: dict[int, float]) -> list[float]:
    """Return each document's canonical score, -1 for one that shares no term. Products in a rising order of terms."""
    scores = []
    for document in documents:
        total = 0.0
        shared = False
        for term, impact in sorted(document):
            if term in query:
                shared = True
                total += float(query[term]) * float(impact)
        scores.append(float(np.float32(total)) if shared else -1.0)
    return scores


def packed_lines(document: Document, scale: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return a document's (term, steps) in the order of its lines: falling impact, then rising place."""
    order = sorted(range(len(document)), key=lambda place: (-document[place][1], place))
    inverse = np.float32(1.0) / scale
    packed = []
    for place in order:
        term, impact = document[place]
        steps = math.floor(float(np.float32(impact)) * float(inverse[term]) + 0.5)
        packed.append((term, max(1, min(255, steps))))
    return packed


def largest_postings(postings: list[tuple[int, int]], n_keep: int) -> list[int]:
    """Return the documents, rising, of the n_keep (document, key) with the largest keys; ties to smaller documents."""
    kept = sorted(postings, key=lambda posting: (-posting[1], posting[0]))[:n_keep]
    return sorted(document for document, _ in kept)


def drawn_centroids(n: int, n_centroids: int, seed: int) -> list[int]:
    """Return which documents of a list are its centroids: the first of a partial shuffle."""
    order = list(range(n))
    state = (seed * 40503 + 12345) & 0x7FFFFFFF
    for i in range(n_centroids):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        j = i + (state >> 8) % (n - i)
        order[i], order[j] = order[j], order[i]
    return order[:n_centroids]


def cluster_list(sketches: list[dict[int, float]], centroids: list[int], min_size: int) -> list[list[int]]:
    """Return the clusters as lists of places, each rising: every sketch with the centroid of largest product.

    Clusters smaller than min_size are dissolved once and their members placed again, if another one is left.
    """

    def nearest(place: int, among: list[int]) -> int:
        products = [
            sum(value * sketches[centroids[c]].get(term, 0.0) for term, value in sketches[place].items()) for c in among
        ]
        return among[products.index(max(products))]

    everywhere = list(range(len(centroids)))
    chosen = [nearest(place, everywhere) for place in range(len(sketches))]
    alive = [c for c in everywhere if chosen.count(c) >= min_size]
    if alive:
        chosen = [c if c in alive else nearest(place, alive) for place, c in enumerate(chosen)]
    clusters = [[place for place, c in enumerate(chosen) if c == cluster] for cluster in everywhere]
    return [cluster for cluster in clusters if cluster]


def summarise_block(sketches: list[dict[int, int]], scale: NDArray[np.float32], energy: float) -> dict[int, int]:
    """Return a block's summary, steps by term: the maximum of its sketches, cut to the largest values.

    Values are sorted into 256 equal steps up to the largest; whole steps are kept until `energy` of the mass is.
    """
    maxima: dict[int, int] = {}
    for sketch in sketches:
        for term, steps in sketch.items():
            maxima[term] = max(maxima.get(term, 0), steps)
    values = {term: float(steps) * float(scale[term]) for term, steps in maxima.items()}
    total, largest = sum(values.values()), max(values.values())
    step_of = {term: int(value * (255 / largest)) for term, value in values.items()}
    lowest, mass = 255, sum(value for term, value in values.items() if step_of[term] == 255)
    while lowest > 0 and mass < energy * total:
        lowest -= 1
        mass += sum(value for term, value in values.items() if step_of[term] == lowest)
    return {term: steps for term, steps in maxima.items() if step_of[term] >= lowest}


def candidates_trivial_but_slow(
    sketches: list[dict[int, int]], query: dict[int, float], scale: NDArray[np.float32], lists: list[set[int]], n: int
) -> list[float]:
    """Return the n largest sketch scores, falling, of the documents in the lists of the query's terms."""
    documents = set().union(*(lists[term] for term in query)) if query else set()
    scores = []
    for document in documents:
        score = sum(
            float(np.float32(query[term]) * scale[term]) * steps
            for term, steps in sketches[document].items()
            if term in query
        )
        if score > 0:
            scores.append(score)
    return sorted(scores, reverse=True)[:n]


def brute_force(scores: NDArray[np.float32], k: int, allowed: NDArray[Any] | None = None) -> list[tuple[int, float]]:
    """Return the k best (document, score) by falling score, then rising document; a score below 0 is no match."""
    matching = [
        (document, float(score))
        for document, score in enumerate(scores)
        if score >= 0 and (allowed is None or allowed[document])
    ]
    return sorted(matching, key=lambda hit: (-hit[1], hit[0]))[:k]
