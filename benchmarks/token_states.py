"""More than one vector per document for lsr-mini's head, without training: nDCG@10 on development sets.

    python -m benchmarks.token_states DEV/medquad DEV/short --cache CACHE [--window 64]

The head reads one vector p, the mean of the states of a document's first 128 word pieces. Here its expansion is the
maximum over several vectors of the same pass, each normalised:

    windows   the means of 64 (--window) word pieces each, and p
    tokens    every state alone; with "mapped" its image under the linear map, fitted by ridge regression on every
              fourth document, from a state to the p of its document

times a factor, after its bias was lowered by a margin (a maximum of many is larger). The literal part and the queries
are lsr-mini's; document frequencies follow the documents. Only the terms of the set's queries are computed, without
the cut at 250 terms, in float32. The texts' states are kept in CACHE.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from benchmarks.encoders_ranking import read
from benchmarks.ranking_lengths import ndcg, table
from benchmarks.ranking_vectors import Statistics, lsr_mini
from encoders.compute.batches import token_batches
from encoders.sides.pooled import PooledSide

_TOKENS = 4096  # per batch of the body
FORMS = [(1.0, 0.0), (0.7, 0.1), (0.5, 0.2), (0.5, 0.4)]  # factor and margin

Vectors = Callable[[Tensor], Tensor]  # of a document's states [pieces, size]: vectors [n, size], normalised
Floats = NDArray[np.float32]


def states(side: PooledSide, texts: list[str], path: Path) -> tuple[Tensor, list[int]]:
    """Return the states of the first word pieces, float16 [sum of lengths, size], and the lengths."""
    if path.exists():
        with np.load(path) as file:
            return torch.from_numpy(file["states"]), file["lengths"].tolist()
    read_ids = side.read(texts)
    lengths = [len(one) for one in read_ids]
    found = np.zeros((sum(lengths), side.dense_size), dtype=np.float16)
    ends = np.cumsum(lengths)
    for batch in token_batches(lengths, _TOKENS):
        with torch.inference_mode():
            parts = torch.split(side.body([read_ids[i] for i in batch]).float(), [lengths[i] for i in batch])
        for i, part in zip(batch, parts, strict=True):
            found[ends[i] - lengths[i] : ends[i]] = part.numpy().astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, states=found, lengths=np.array(lengths))
    return torch.from_numpy(found), lengths


def fitted_map(every: Tensor, lengths: list[int], pooled: Tensor) -> Tensor:
    """Return the linear map from a normalised state to the p of its document, float32 [size, size]."""
    size = every.shape[1]
    left, right = torch.zeros(size, size), torch.zeros(size, size)
    for i, part in enumerate(torch.split(every, lengths)):
        if i % 4 == 0:
            unit = functional.normalize(part.float(), dim=1)
            left += unit.T @ unit
            right += unit.T @ pooled[i].expand(len(unit), -1)
    found: Tensor = torch.linalg.solve(left + torch.eye(size), right)
    return found


def largest(logits_of: Vectors, side: PooledSide, every: Tensor, lengths: list[int], columns: Tensor) -> Floats:
    """Return the largest logit of each document's vectors, float32 [documents, columns]."""
    weight, bias = side.head.expansion.weight[columns], side.head.expansion.bias[columns]
    rows = [
        functional.linear(logits_of(part.float()), weight, bias).amax(dim=0) for part in torch.split(every, lengths)
    ]
    found: Floats = torch.stack(rows).numpy()
    return found


def main() -> None:
    """Print the table of means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--window", type=int, default=64)
    given = parser.parse_args()
    rows: dict[str, dict[str, NDArray[np.float64]]] = {}
    for folder in given.folders:
        with torch.inference_mode():
            for name, values in of_set(folder, given.cache, given.window).items():
                rows.setdefault(name, {})[folder.name] = values
    print(table(rows))


def of_set(folder: Path, cache: Path, window: int) -> dict[str, NDArray[np.float64]]:
    """Return nDCG@10 of each query by form."""
    encoder = lsr_mini("float32")
    side = encoder.documents
    if not isinstance(side, PooledSide):
        raise SystemExit("lsr-mini has no pooled side any more")
    texts, asked, judged = read(folder)
    every, lengths = states(side, texts, cache / f"{folder.name}.states.npz")
    pooled = torch.stack([part.float().mean(dim=0) for part in torch.split(every, lengths)])
    pooled = functional.normalize(pooled, dim=1)
    mapping = fitted_map(every, lengths, pooled)
    terms = torch.from_numpy(np.unique(encoder.encode_queries(asked).indices).astype(np.int64))
    keys, impacts = side.impacts(side.ids(texts))
    where = (keys.numpy() // side.n_terms, keys.numpy() % side.n_terms)
    literal = csr_array((impacts.numpy(), where), shape=(len(texts), side.n_terms))[:, terms.numpy()].toarray()
    literal *= torch.relu(side.head.factor[terms]).numpy()

    def windows(part: Tensor) -> Tensor:
        means = [one.mean(dim=0) for one in torch.split(part, window)]
        return functional.normalize(torch.stack([part.mean(dim=0), *means]), dim=1)

    ways: dict[str, Vectors] = {
        "pooled": lambda part: functional.normalize(part.mean(dim=0, keepdim=True), dim=1),
        "windows": windows,
        "tokens": lambda part: functional.normalize(part, dim=1),
        "tokens, mapped": lambda part: functional.normalize(functional.normalize(part, dim=1) @ mapping, dim=1),
    }
    found = {}
    base = np.maximum(largest(ways["pooled"], side, every, lengths, terms), 0.0)
    for name, way in ways.items():
        logits = largest(way, side, every, lengths, terms)
        for factor, margin in FORMS if name != "pooled" else FORMS[:1]:
            own = factor * np.maximum(logits - margin, 0.0)
            forms = {name: own} if name == "pooled" else {name: own, f"p and {name}": np.maximum(base, own)}
            for form, expansion in forms.items():
                wide = csr_array(literal + expansion)
                documents = csr_array((wide.data, terms.numpy()[wide.indices], wide.indptr), (len(texts), side.n_terms))
                queries = encoder.encode_queries(asked, Statistics(documents))
                found[f"{form}, {factor:g}, {margin:g}"] = ndcg(queries, documents, judged)
    return found


if __name__ == "__main__":
    main()
