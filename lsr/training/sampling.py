"""Batches from pairs, candidates and scores: the examples of a step, and their negatives.

An example is a query with one of its positives. Each epoch uses all of them in its own order; negatives are drawn
again each time. Everything follows from the seed and the number of the step.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.training.batch import Batch
from lsr.training.errors import TrainingDataError
from lsr.training.pairs import Pairs


@dataclass(frozen=True)
class Examples:
    """queries int32 [n]: each example's query; candidates int32 [n, 1 + depth]: documents, the positive first;
    teacher float32 of that shape, or None."""

    queries: NDArray[np.int32]
    candidates: NDArray[np.int32]
    teacher: NDArray[np.float32] | None = None


def make_examples(pairs: Pairs, negatives: NDArray[np.int32]) -> Examples:
    """Return an example for each pair; `negatives` int32 [queries, depth]."""
    queries = np.repeat(np.arange(len(pairs.queries), dtype=np.int32), [len(one) for one in pairs.positives])
    positives = np.array([number for one in pairs.positives for number in one], dtype=np.int32)
    return Examples(queries, np.concatenate([positives[:, None], negatives[queries]], axis=1))


class PairSource:
    """Gives each step its batch (encoders.training.batch.BatchSource)."""

    def __init__(
        self, pairs: Pairs, examples: Examples, *, batch_size: int, accumulation: int, per_query: int, seed: int
    ) -> None:
        """Raises TrainingDataError for fewer examples than a batch."""
        if len(examples.queries) < batch_size:
            raise TrainingDataError(
                f"{len(examples.queries)} pairs are fewer than a batch of {batch_size}; give more data or a smaller "
                "[steps] batch_size"
            )
        self._pairs = pairs
        self._examples = examples
        self._batch_size = batch_size
        self._accumulation = accumulation
        self._per_query = per_query
        self._seed = seed
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def batch(self, step: int, part: int) -> Batch:
        """Return the batch of that step and part."""
        rows = self._rows((step * self._accumulation + part) * self._batch_size)
        rng = np.random.default_rng([self._seed, step, part])
        depth = self._examples.candidates.shape[1] - 1
        drawn = np.stack([rng.choice(depth, self._per_query, replace=False) + 1 for _ in rows])
        columns = np.concatenate([np.zeros((len(rows), 1), dtype=np.int64), np.sort(drawn, axis=1)], axis=1)
        candidates = np.take_along_axis(self._examples.candidates[rows], columns, axis=1)
        documents, groups = np.unique(candidates, return_inverse=True)
        queries = self._examples.queries[rows]
        excluded = np.zeros((len(rows), len(documents)), dtype=np.bool_)
        groups = groups.reshape(candidates.shape)
        for row, query in enumerate(queries.tolist()):
            excluded[row] = np.isin(documents, self._pairs.positives[query])
            excluded[row, groups[row, 0]] = False
        teacher = self._examples.teacher
        return Batch(
            queries=[self._pairs.queries[i] for i in queries.tolist()],
            documents=[self._pairs.documents[i] for i in documents.tolist()],
            groups=groups.astype(np.int64),
            teacher=None if teacher is None else np.take_along_axis(teacher[rows], columns, axis=1),
            excluded=excluded,
        )

    def _rows(self, first: int) -> NDArray[np.int64]:
        """Return the examples at batch_size places from `first` on, counted through all epochs."""
        count = len(self._examples.queries)
        places = range(first, first + self._batch_size)
        return np.array([self._order(place // count)[place % count] for place in places], dtype=np.int64)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._examples.queries))
