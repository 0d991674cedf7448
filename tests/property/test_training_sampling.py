"""Batches for any number of pairs, batch size and accumulation."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lsr.training.pairs import Pairs
from lsr.training.sampling import Examples, PairSource


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 3), st.integers(1, 5), st.integers(0, 1000))
def test_epochs_take_every_example_equally_often_and_groups_begin_with_the_answer(
    count: int, batch_size: int, accumulation: int, per_query: int, seed: int
) -> None:
    batch_size = min(batch_size, count)
    n_documents = count + 6
    pairs = Pairs([f"q{i}" for i in range(count)], [f"d{i}" for i in range(n_documents)], [[i] for i in range(count)])
    candidates = np.array([[i, *((i + j) % n_documents for j in range(1, 6))] for i in range(count)], dtype=np.int32)
    teacher = candidates.astype(np.float32)
    source = PairSource(
        pairs,
        Examples(np.arange(count, dtype=np.int32), candidates, teacher),
        batch_size=batch_size,
        accumulation=accumulation,
        per_query=per_query,
        seed=seed,
    )
    seen: Counter[str] = Counter()
    for step in range(count):
        for part in range(accumulation):
            batch = source.batch(step, part)
            seen.update(batch.queries)
            assert len(set(batch.documents)) == len(batch.documents)
            assert batch.groups.shape == (batch_size, 1 + per_query)
            for row, query in enumerate(batch.queries):
                number = int(query[1:])
                group = [int(batch.documents[i][1:]) for i in batch.groups[row]]
                assert group[0] == number
                assert len(set(group)) == len(group)
                assert set(group) <= set(candidates[number].tolist())
                assert batch.teacher is not None
                assert batch.teacher[row].tolist() == group
    assert set(seen.values()) == {accumulation * batch_size}
