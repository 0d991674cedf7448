"""The candidates of every example and their teachers' scores: mined and computed once, kept in a cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.training.losses import ensemble
from lsr.training.config import TrainingConfig
from lsr.training.context import RunContext
from lsr.training.negatives import fill, mine_bm25, mine_dense
from lsr.training.pairs import Pairs
from lsr.training.sampling import Examples, make_examples
from lsr.training.teachers import DenseScores, cached, sparse_scores


def find_examples(config: TrainingConfig, pairs: Pairs, data_hash: str, cache: Path, context: RunContext) -> Examples:
    """Return the examples with mined negatives and, if a loss needs them, teachers' scores."""
    dense = [
        DenseScores(spec, config.model.max_length, pairs, cache, context)
        for spec in (config.teachers.dense if config.loss.needs_teacher or config.negatives.dense else ())
    ]
    wanted = config.negatives

    def mine() -> NDArray[np.int32]:
        mined = []
        if wanted.bm25:
            context.say(f"mining {wanted.bm25} negatives per query with BM25")
            report = context.phase("mining")
            mined.append(mine_bm25(pairs, wanted.bm25, threads=context.threads, progress=report))
        if wanted.dense:
            context.say(f"mining {wanted.dense} negatives per query with the dense teacher")
            mined.append(mine_dense(pairs, dense[0].queries, dense[0].documents, wanted.dense, device=context.device))
        return fill(pairs, mined, config.steps.seed)

    miner = dense[0].fingerprint if wanted.dense else ""
    negatives = cached(cache, f"negatives {data_hash} {wanted.bm25} {wanted.dense} {miner} {config.steps.seed}", mine)
    examples = make_examples(pairs, negatives)
    if not config.loss.needs_teacher:
        return examples
    scores = [one.score(examples.queries, examples.candidates) for one in dense]
    scores += [
        sparse_scores(spec, pairs, examples.queries, examples.candidates, data_hash, cache, context)
        for spec in config.teachers.sparse
    ]
    return dataclasses.replace(examples, teacher=ensemble(scores))
