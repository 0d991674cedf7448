"""Which ranking of lsr-mini, BM25 and MiniLM's vector is best: every leg's exact scores, fused, rescored, filtered.

    python -m benchmarks.ranking_study encode FOLDER… --cache CACHE [--longer]     once per set; what is there is kept
    python -m benchmarks.ranking_study tables FOLDER… --cache CACHE [--only NAME …]

FOLDER is a BEIR folder (benchmarks/training_development_set.py writes those of docs/results/ranking.md). CACHE keeps
the vectors and, under results/, nDCG@10 of each query. Progress goes to stderr, tables in Markdown to stdout.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking_feedback import feedback
from benchmarks.ranking_pipelines import (
    DEFAULT,
    SPARSE,
    Collection,
    Floats,
    Pipeline,
    Shortlist,
    Values,
    View,
    by_list,
    ranked,
)
from benchmarks.ranking_vectors import encode
from eval.comparison.significance import Difference, holm, paired_difference

_METHODS = ("scaled", "minmax", "zscore", "sum", "rrf")
_DEPTHS = (100, 200, 1000)


def legs(of: Collection) -> Values:
    """Every leg by itself; MiniLM over every document."""
    view, every = View(of), View(of, every=True)
    values = {leg: view.ndcg(ranked(view, Pipeline((leg,), weights=(1.0,)))) for leg in reversed(SPARSE)}
    return {**values, "MiniLM, every document": every.ndcg(every.raw["dense"])}


def fusions(of: Collection) -> Values:
    """lsr-mini + bm25 with equal weights: methods, depths, completed or not."""
    view = View(of)
    named = {
        f"{method}{_note(completed)}, {depth}": Pipeline(method=method, depth=depth, completed=completed)
        for method in _METHODS
        for completed in ((False,) if method == "rrf" else (False, True))
        for depth in _DEPTHS
    }
    named |= {f"rrf, k 20, {depth}": Pipeline(method="rrf", k=20, depth=depth, completed=False) for depth in _DEPTHS}
    return _all(view, named)


def leg_weights(of: Collection) -> Values:
    """Weights of lsr-mini and bm25, without rescoring and with it; the dense leg's in proportion to their sum."""
    view = View(of, deepest=DEFAULT.depth)
    named = {}
    for a, b in ((1.0, 0.0), (1.0, 0.25), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0), (0.25, 1.0), (0.0, 1.0)):
        for share in (0.0, 2.0, 2.5, 3.0):
            weight = share * (a + b)
            legs = [(leg, w) for leg, w in zip(SPARSE, (a, b), strict=True) if w > 0]
            named[f"{a:g} : {b:g} : {weight:g}"] = replace(
                DEFAULT,
                legs=tuple(leg for leg, _ in legs),
                weights=tuple(w for _, w in legs),
                candidates=100 if weight else 0,
                weight=weight,
            )
    return _all(view, named)


def dense_weights(of: Collection) -> Values:
    """The default with other weights of the dense leg and numbers of candidates."""
    view = View(of)
    named = {
        f"1 : 1 : {weight:g}, {n}": replace(DEFAULT, weight=weight, candidates=n)
        for n in (50, 100, 200)
        for weight in (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0)
    }
    return _all(view, named)


def rescoring(of: Collection) -> Values:
    """Methods of fusion, their sum divided by its maximum, and normalisations of the dense leg with its weights."""
    view = View(of, deepest=DEFAULT.depth)
    grid = {
        "scaled": (1.0, 1.5, 2.0, 2.5, 3.0, 4.0),
        "scaled0": (0.25, 0.5, 0.75, 1.0, 1.5),
        "minmax": (0.25, 0.5, 0.75, 1.0, 1.5),
        "raw": (0.5, 1.0, 1.5, 2.0, 2.5),
    }
    values = {}
    for method in ("scaled", "sum", "rrf"):
        first = replace(DEFAULT, method=method, completed=method != "rrf", over_maximum=True)
        shortlist = Shortlist(view, first)
        for how, weights in grid.items():
            for weight in weights:
                pipeline = replace(first, dense=how, weight=weight)
                values[f"{method}; dense {how}, {weight:g}"] = shortlist.ndcg(pipeline)
    return values


def depths(of: Collection) -> Values:
    """The default with other depths of the lists, completed or not, and other numbers of candidates."""
    view = View(of)
    named = {
        f"{depth}{_note(completed)}, {n} rescored": replace(DEFAULT, depth=depth, completed=completed, candidates=n)
        for depth in (50, *_DEPTHS)
        for completed in (False, True)
        for n in (30, 50, 100, 200)
        if n <= depth
    }
    return _all(view, named)


def filters(of: Collection) -> Values:
    """Random filters that keep a share of the documents, and the relevant ones; lists of 100.

    Every query has a filter of its own; three seeds, of which the mean of a query counts.
    """
    stages = {
        f"{method}{_note(completed)}": Pipeline(method=method, depth=100, completed=completed)
        for method in _METHODS
        for completed in ((False,) if method == "rrf" else (False, True))
    }
    for how, weight in (
        ("scaled", 4.0), ("scaled", 5.0), ("scaled", 6.0), ("scaled0", 1.5), ("minmax", 1.5), ("raw", 3.0),
        ("zscore", 0.3),
    ):  # fmt: skip
        stages[f"the default, dense {how}, {weight:g}"] = replace(DEFAULT, dense=how, weight=weight)
    values: Values = {}
    for share in (1.0, 0.1, 0.01):
        sums: Values = {}
        seeds = (1,) if share == 1.0 else (1, 2, 3)
        for seed in seeds:
            kept = np.random.default_rng(seed).random(of.gains.shape) < share
            for name, value in _all(View(of, kept | (of.gains > 0), deepest=100), stages).items():
                sums[name] = sums.get(name, np.zeros(of.n_queries)) + value / len(seeds)
        values |= {f"{share:.0%}: {name}": value for name, value in sums.items()}
    return values


def vectors(of: Collection) -> Values:
    """How the dense vector is stored and what made it, with the default."""
    view = View(of, deepest=DEFAULT.depth)
    longer, wide = of.part("longer"), of.part("queries32")["dense_q"]
    documents, queries = of.vectors, of.vector_queries
    half = documents.astype(np.float16).astype(np.float32)
    kinds = {
        "float32, 1,536 bytes, query by float32": (wide, documents),
        "float32, query by bfloat16": (queries, documents),
        "float16, 768 bytes": (wide, half),
        "int8, 388 bytes": (wide, _integers(documents, 127)),
        "int8, query by bfloat16": (queries, _integers(documents, 127)),
        "int4, 196 bytes": (wide, _integers(documents, 7)),
        "int8, the first 128 dimensions, 132 bytes": (_cut(wide, 128), _integers(_cut(documents, 128), 127)),
        "256 word pieces, float32, query by bfloat16": (longer["dense_q"], longer["dense"]),
    }
    return {name: view.ndcg(ranked(view, DEFAULT, view.dense(*pair))) for name, pair in kinds.items()}


def _integers(vectors: Floats, largest: int) -> Floats:
    scale = np.abs(vectors).max(axis=1, keepdims=True) / largest
    return np.asarray(np.rint(vectors / scale) * scale, dtype=np.float32)


def _cut(vectors: Floats, size: int) -> Floats:
    cut = vectors[:, :size]
    return np.asarray(cut / np.linalg.norm(cut, axis=1, keepdims=True), dtype=np.float32)


def final(of: Collection) -> Values:
    """The rows of the issue's table, then the default: what the test sets are looked at with, once."""
    view = View(of)
    one: dict[str, Any] = {"weights": (1.0,), "method": "minmax", "completed": False}
    both = Pipeline(method="minmax", completed=False)
    by_dense: dict[str, Any] = {"candidates": 100, "dense": "minmax", "weight": 1.0}
    quantised = view.dense(of.part("queries32")["dense_q"], _integers(of.vectors, 127))
    named = {
        "lsr-mini + bm25, min-max of 1,000": both,
        "lsr-mini, its 100 rescored, min-max": Pipeline(("lsr-mini",), **one, **by_dense),
        "lsr-mini + bm25, their 100 rescored, min-max": replace(both, **by_dense),
        "the default without rescoring": replace(DEFAULT, candidates=0),
    }
    return {
        **legs(of),
        **_all(view, named),
        "bm25 + MiniLM, min-max of 1,000": _with_every_vector(of),
        "the default, float32": view.ndcg(ranked(view, DEFAULT)),
        "the default, int8": view.ndcg(ranked(view, DEFAULT, quantised)),
    }


def _with_every_vector(of: Collection) -> NDArray[np.float64]:
    every = View(of, every=True)
    cosines = every.raw["dense"]
    nearest = np.zeros(cosines.shape, dtype=np.bool_)
    np.put_along_axis(nearest, np.argsort(-cosines, axis=1, kind="stable")[:, :1000], True, axis=1)
    words = every.ranks["bm25"] < 1000
    fused = by_list(every.raw["bm25"], words, "minmax") + by_list(cosines, nearest, "minmax")
    return every.ndcg(np.where(words | nearest, fused, -np.inf))


def _note(completed: bool) -> str:
    return ", completed" if completed else ""


def _all(view: View, named: dict[str, Pipeline], cosines: NDArray[np.float64] | None = None) -> Values:
    return {name: view.ndcg(ranked(view, pipeline, cosines)) for name, pipeline in named.items()}


EXPERIMENTS: dict[str, Callable[[Collection], Values]] = {
    "legs": legs,
    "fusions": fusions,
    "leg-weights": leg_weights,
    "rescoring": rescoring,
    "dense-weights": dense_weights,
    "depths": depths,
    "filters": filters,
    "vectors": vectors,
    "feedback": feedback,
    "final": final,
}


def measure(names: Sequence[str], experiments: Sequence[str], cache: Path, results: Path) -> None:
    """Write RESULTS/SET.EXPERIMENT.npz, which holds nDCG@10 of each query by row; what is there is kept."""
    for name in names:
        missing = [one for one in experiments if not (results / f"{name}.{one}.npz").exists()]
        if not missing:
            continue
        of = Collection(cache, name)
        for one in missing:
            started = time.monotonic()
            values = EXPERIMENTS[one](of)
            np.savez(results / f"{name}.{one}.npz", allow_pickle=False, **dict[str, Any](values))
            print(f"{name}: {one}: {len(values)} rows in {time.monotonic() - started:.1f} s", file=sys.stderr)


def read_values(results: Path, name: str, experiment: str) -> Values:
    """Return what `measure` wrote."""
    with np.load(results / f"{name}.{experiment}.npz") as arrays:
        return dict(arrays)


def table(results: Path, names: Sequence[str], experiment: str) -> str:
    """Return a Markdown table of means: a row a pipeline, a column a set, and the mean over the sets."""
    of_sets = [read_values(results, name, experiment) for name in names]
    lines = ["| | " + " | ".join([*names, "mean"]) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for row in of_sets[0]:
        means = [float(values[row].mean()) for values in of_sets]
        lines.append(f"| {row} | " + " | ".join(_short(x) for x in [*means, float(np.mean(means))]) + " |")
    return "\n".join(lines)


def tests(results: Path, names: Sequence[str], row: str) -> str:
    """Return a Markdown table of `row` of "final" against bm25 and lsr-mini: randomisation, Holm over the table."""
    made: list[tuple[str, str, Difference]] = []
    for name in names:
        values = read_values(results, name, "final")
        made.extend((name, other, paired_difference(values[row], values[other])) for other in ("bm25", "lsr-mini"))
    corrected = holm([one.p_randomisation for *_, one in made])
    lines = ["| set | against | difference | 95 % interval | p, Holm |", "|---|---|---:|---:|---:|"]
    for (name, other, one), p in zip(made, corrected, strict=True):
        lines.append(f"| {name} | {other} | {one.mean:+.4f} | {one.low:+.4f} to {one.high:+.4f} | {p:.4f} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def main() -> None:
    """Read the arguments, do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["encode", "tables"])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--longer", action="store_true", help="encode: MiniLM's vector of 256 word pieces as well")
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.step == "encode":
        for folder in given.folders:
            encode(folder, given.cache, longer=given.longer)
        return
    results = given.cache / "results"
    results.mkdir(exist_ok=True)
    names = [folder.name for folder in given.folders]
    measure(names, given.only, given.cache, results)
    for one in given.only:
        print(f"\n{one}\n\n{table(results, names, one)}")
        if one == "final":
            print(f"\n{tests(results, names, 'the default, int8')}")


if __name__ == "__main__":
    main()
