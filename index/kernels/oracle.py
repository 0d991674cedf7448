"""The definitions of what the kernels compute, in plain Python and NumPy: slow, used by tests only."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Document = list[tuple[int, float]]


def canonical_scores(documents: list[Document], query: dict[int, float]) -> list[float]:
    """Return each document's canonical score, -1 for one that shares no term. Products are added by ascending term."""
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


def packed_document(document: Document, scale: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return a document's (term, steps) as they are packed: by descending impact, then ascending place."""
    order = sorted(range(len(document)), key=lambda place: (-document[place][1], place))
    inverse = np.float32(1.0) / scale
    packed = []
    for place in order:
        term, impact = document[place]
        steps = math.floor(float(np.float32(impact)) * float(inverse[term]) + 0.5)
        packed.append((term, max(1, min(255, steps))))
    return packed


def heaviest_terms(document: Document) -> int:
    """Return the document's three heaviest terms as one number of three times 20 bits, ties by ascending place."""
    order = sorted(range(len(document)), key=lambda place: (-document[place][1], place))
    terms = [document[place][0] for place in order[:3]] + [0xFFFFF] * 3
    return terms[0] << 40 | terms[1] << 20 | terms[2]


def largest_postings(postings: list[tuple[int, int]], n_keep: int) -> list[int]:
    """Return the documents, ascending, of the n_keep (document, key) of largest key; ties to smaller documents."""
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
    """Return the clusters as lists of places, each ascending: every sketch joins the centroid of largest cosine.

    A cluster that has twice its share and two more is closed as long as another one is not. Clusters smaller than
    min_size are dissolved once and their members placed again, if another one is left. Sums are float32 and in the
    sketches' order, as in the kernel.
    """
    one = np.float32
    directions = []
    for centroid in centroids:
        squares = one(0)
        for value in sketches[centroid].values():
            squares += one(value) * one(value)
        directions.append({term: one(value) / np.sqrt(squares) for term, value in sketches[centroid].items()})
    full = 2 * len(sketches) // len(centroids) + 2

    def place(sketch: dict[int, float], among: list[int]) -> int:
        cosines = []
        for c in among:
            cosine = one(0)
            for term, value in sketch.items():
                if term in directions[c]:
                    cosine += one(value) * directions[c][term]
            cosines.append((-cosine, c))
        return min([cosine for cosine in cosines if sizes[cosine[1]] < full] or cosines)[1]

    everywhere = list(range(len(centroids)))
    sizes = [0] * len(centroids)
    chosen = []
    for sketch in sketches:
        chosen.append(place(sketch, everywhere))
        sizes[chosen[-1]] += 1
    alive = [c for c in everywhere if sizes[c] >= min_size]
    if alive:
        for number, c in enumerate(chosen):
            if c not in alive:
                chosen[number] = place(sketches[number], alive)
                sizes[chosen[number]] += 1
    clusters = [[number for number, c in enumerate(chosen) if c == cluster] for cluster in everywhere]
    return [cluster for cluster in clusters if cluster]


def block_summary(sketches: list[dict[int, int]], scale: NDArray[np.float32], n: int) -> list[tuple[int, int]]:
    """Return a block's summary, (term, steps): the n largest values of the maximum, descending, ties by ascending term.

    The maximum is over the n largest values of each document, ties by ascending term.
    """

    def largest(held: dict[int, int]) -> list[tuple[int, int]]:
        return sorted(held.items(), key=lambda entry: (-np.float32(entry[1]) * scale[entry[0]], entry[0]))[:n]

    maxima: dict[int, int] = {}
    for sketch in sketches:
        for term, steps in largest(sketch):
            maxima[term] = max(maxima.get(term, 0), steps)
    return largest(maxima)


def levels(impacts: list[float]) -> list[float]:
    """Return what a further line says of impacts, descending floats that float16 holds, whose number takes the line's
    first place: for each the middle of the level of its group of four.

    The level of a group is the mean of its float16 bits without the lower seven.
    """
    said = []
    for group in range(0, len(impacts) + 1, 4):
        held = impacts[max(0, group - 1) : group + 3]
        bits = np.array(held, dtype=np.float16).view(np.uint16).astype(int)
        middle = np.uint16(((int(bits.sum()) // max(1, len(held))) >> 7 << 7) | 64).view(np.float16)
        said += [float(middle)] * len(held)
    return said


def query_steps(query: dict[int, float], scale: NDArray[np.float32]) -> dict[int, tuple[int, np.float32]]:
    """Return what a step of each query term adds to a score, 1 .. 65535, and a unit of impact in the same measure."""
    values = {term: float(np.float32(weight)) * float(scale[term]) for term, weight in query.items()}
    factor = min(65534 / max(values.values()), 2**31 / (255 * sum(values.values())))
    return {
        term: (1 + int(value * factor), np.float32(float(np.float32(query[term])) * factor))
        for term, value in values.items()
    }


def candidates_trivial_but_slow(
    sketches: list[dict[int, int]],
    query: dict[int, float],
    scale: NDArray[np.float32],
    lists: list[set[int]],
    n: int,
    width: int,
    *,
    with_levels: bool,
) -> list[int]:
    """Return the n largest sketch scores, descending, of the documents in the lists of the query's terms.

    The `width` largest impacts of a document count in steps. The others count as their line says, the weights of a
    group together (see `levels`), and a line's sum is rounded down; without levels they count as they are, and every
    product is rounded down.
    """
    if not query:
        return []
    worth = query_steps(query, scale)
    scores = []
    for document in set().union(*(lists[term] for term in query)):
        impacts = {term: np.float32(steps * scale[term]) for term, steps in sketches[document].items()}
        order = [term for _, term in sorted((-impact, term) for term, impact in impacts.items())]
        score = sum(worth[term][0] * sketches[document][term] for term in order[:width] if term in worth)
        further = order[width:]
        if with_levels:
            score += _levelled_score(further, levels([float(impacts[term]) for term in further]), worth)
        else:
            score += sum(int(worth[term][1] * impacts[term]) for term in further if term in worth)
        scores.append(score)
    return sorted(scores, reverse=True)[:n]


def _levelled_score(further: list[int], said: list[float], worth: dict[int, tuple[int, np.float32]]) -> int:
    """Return the sum over lines of 28 places, the first of which is not a term, of a group's weights times its level.

    In float32 and in the order of the kernel.
    """
    zero = np.float32(0)
    units = [zero] + [worth[term][1] if term in worth else zero for term in further]
    units += [zero] * (-len(units) % 28)
    values = [0.0, *said]
    score = 0
    for line in range(0, len(units) if further else 0, 28):
        total = zero
        for at in range(line, min(line + 28, len(values)), 4):
            weight = (units[at] + units[at + 1]) + (units[at + 2] + units[at + 3])
            level = np.float32(values[min(at + 3, len(values) - 1)])
            total += weight * (level * np.float32(2.0**-112))
        score += int(total * np.float32(2.0**112))
    return score


def brute_force(scores: NDArray[np.float32], k: int, allowed: NDArray[Any] | None = None) -> list[tuple[int, float]]:
    """Return the k best (document, score) by descending score, then ascending document; scores below 0 do not match."""
    matching = [
        (document, float(score))
        for document, score in enumerate(scores)
        if score >= 0 and (allowed is None or allowed[document])
    ]
    return sorted(matching, key=lambda hit: (-hit[1], hit[0]))[:k]


def numbered_query(
    ids: list[int], weights: list[float], numbers: dict[int, int], frequencies: dict[int, int]
) -> tuple[list[tuple[int, float]], float, float] | None:
    """Return ([(segment's number, weight)], sum of those weights, of their frequencies), or None if it is not plain.

    numbers  the segment's number of each collection term id that it holds    frequencies  by the segment's number
    """
    ascending = all(a < b for a, b in itertools.pairwise(ids)) and all(number >= 0 for number in ids)
    if not ascending or not all(0 <= weight <= 1e12 for weight in weights):
        return None
    held = [(numbers[i], weight) for i, weight in zip(ids, weights, strict=True) if weight > 0 and i in numbers]
    return held, sum(weight for _, weight in held), float(sum(frequencies[number] for number, _ in held))


def dense_scores(rows: list[int], values: list[list[int]], scale: list[float], query: list[float]) -> list[float]:
    """Return float32(scale * sum) of each row: 8 lanes, each a sum of every eighth product in ascending order."""
    scores = []
    for row in rows:
        lanes = [0.0] * 8
        for at, (weight, value) in enumerate(zip(query, values[row], strict=True)):
            lanes[at % 8] += float(weight) * float(value)
        pairs = [lanes[at] + lanes[at + 1] for at in (0, 2, 4, 6)]
        total = (pairs[0] + pairs[1]) + (pairs[2] + pairs[3])
        scores.append(float(np.float32(float(scale[row]) * total)) if scale[row] else 0.0)
    return scores
