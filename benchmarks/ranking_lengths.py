"""lsr-mini's sparse vectors alone against BM25 on development sets, and with larger weights for short documents.

    python -m benchmarks.ranking_study encode DEV/* --cache CACHE
    python -m benchmarks.ranking_lengths DEV/* --cache CACHE [--powers 0 0.05 0.1]

The matrices are those of `ranking_study encode`. For each power, a document's weights are multiplied by
max(1, average length / length) ** power, lengths in word pieces; 0 is the shipped model. Printed are nDCG@10 by exact
search, and the randomisation tests of each power against BM25, and against the first power, with Holm's correction over
a table. Document frequencies do not depend on the power, so the queries' weights are the cached ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks.ranking_vectors import lsr_mini, read_matrix
from encoders.sides.bm25_impacts import BM25Impacts
from encoders.sides.pooled import PooledSide
from eval.comparison.significance import Difference, holm, paired_difference
from lsr.corpora import open_corpus
from lsr.documents import Document

Values = NDArray[np.float64]
_K = 10


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--powers", type=float, nargs="+", default=[0.0, 0.05, 0.1])
    given = parser.parse_args()
    side = lsr_mini("float32").documents
    if not isinstance(side, PooledSide):
        raise SystemExit("lsr-mini has no pooled side any more")
    impacts = side.impacts
    rows: dict[str, dict[str, Values]] = {"bm25": {}, **{str(power): {} for power in given.powers}}
    for folder in given.folders:
        ratios = length_ratios(folder, side, impacts)
        judged = judgements(given.cache, folder.name)
        with np.load(given.cache / f"{folder.name}.bm25.npz") as file:
            rows["bm25"][folder.name] = ndcg(read_matrix(file, "q"), read_matrix(file, "d"), judged)
        with np.load(given.cache / f"{folder.name}.mini.npz") as file:
            queries, documents = read_matrix(file, "q"), read_matrix(file, "d")
        for power in given.powers:
            scales = ratios**power
            data = (documents.data * np.repeat(scales, np.diff(documents.indptr))).astype(np.float32)
            scaled = csr_array((data, documents.indices, documents.indptr), shape=documents.shape)
            rows[str(power)][folder.name] = ndcg(queries, scaled, judged)
    print(table(rows))
    for against in ("bm25", str(given.powers[0])):
        for power in map(str, given.powers):
            if power != against:
                print(f"\npower {power} against {against}\n\n{tests(rows[power], rows[against])}")


def length_ratios(folder: Path, side: PooledSide, impacts: BM25Impacts) -> Values:
    """Return max(1, average length / length) of each document, in ascending order of ids, float64 [documents]."""
    found = sorted(
        (line.content.id, line.content.full_text)
        for line in open_corpus(str(folder))
        if isinstance(line.content, Document)
    )
    average = side.settings.average_length or 1.0
    lengths = np.array([max(1, len(impacts.keys([ids])[0])) for ids in side.ids([text for _, text in found])])
    ratios: Values = np.maximum(1.0, average / lengths)
    return ratios


def judgements(cache: Path, name: str) -> list[dict[int, int]]:
    """Return the grades above zero of each query's documents, by their numbers."""
    with np.load(cache / f"{name}.judgements.npz") as file:
        rows, count = file["judgements"], len(file["lengths"])
    found: list[dict[int, int]] = [{} for _ in range(count)]
    for query, document, grade in rows.tolist():
        found[query][document] = grade
    return found


def ndcg(queries: csr_array, documents: csr_array, judged: Sequence[dict[int, int]]) -> Values:
    """Return nDCG@10 of each query, float64; of equal scores the document with the smaller number is first."""
    scores = (queries @ documents.T).tocsr()
    discounts = 1.0 / np.log2(np.arange(2, _K + 2))
    values = np.zeros(len(judged))
    for query, grades in enumerate(judged):
        ideal = np.sort(list(grades.values()))[::-1][:_K]
        if not len(ideal):
            continue
        span = slice(scores.indptr[query], scores.indptr[query + 1])
        data, ids = scores.data[span], scores.indices[span]
        if len(data) > _K:
            near = data >= np.partition(data, len(data) - _K)[len(data) - _K]
            data, ids = data[near], ids[near]
        best = ids[np.lexsort((ids, -data))[:_K]]
        gains = np.array([grades.get(int(one), 0) for one in best], dtype=np.float64)
        values[query] = (gains * discounts[: len(gains)]).sum() / (ideal * discounts[: len(ideal)]).sum()
    return values


def table(rows: dict[str, dict[str, Values]]) -> str:
    """Return a Markdown table of means: a row a system, a column a set, and the mean of the sets."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join([*names, "mean"]) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for row, values in rows.items():
        means = [float(values[name].mean()) for name in names]
        shown = [f"{value:.4f}".removeprefix("0") for value in [*means, float(np.mean(means))]]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def tests(system: dict[str, Values], baseline: dict[str, Values]) -> str:
    """Return a Markdown table of the differences, with Holm's correction over the sets."""
    made: list[tuple[str, Difference]] = [
        (name, paired_difference(system[name], baseline[name])) for name in system if name in baseline
    ]
    corrected = holm([one.p_randomisation for _, one in made])
    lines = ["| set | difference | 95 % interval | p, Holm |", "|---|---:|---:|---:|"]
    for (name, one), p in zip(made, corrected, strict=True):
        lines.append(f"| {name} | {one.mean:+.4f} | {one.low:+.4f} to {one.high:+.4f} | {p:.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
