"""Encoders used from many threads, and queries that arrive together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from encoders import load_encoder
from encoders.sides.combined_calls import CombinedCalls


def numbers(texts: list[str]) -> csr_array:
    return csr_array(np.array([[float(text)] for text in texts], dtype=np.float32))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "the condition never came"
        time.sleep(0.001)


def test_calls_that_wait_are_answered_by_one_computation() -> None:
    batches: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def compute(texts: list[str]) -> csr_array:
        batches.append(len(texts))
        started.set()
        assert go_on.wait(10)
        return numbers(texts)

    combined = CombinedCalls(compute)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(combined, ["100"])
        assert started.wait(10)
        rest = [pool.submit(combined, [str(i), str(i + 0.5)]) for i in range(8)]
        wait_until(lambda: len(combined._waiting) == 8)
        go_on.set()
        assert first.result().toarray().tolist() == [[100.0]]
        for i, future in enumerate(rest):
            assert future.result().toarray().tolist() == [[i], [i + 0.5]]
    assert batches == [1, 16]


def test_a_batch_is_bounded_and_a_large_call_stands_alone() -> None:
    batches: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def compute(texts: list[str]) -> csr_array:
        batches.append(len(texts))
        started.set()
        assert go_on.wait(10)
        return numbers(texts)

    combined = CombinedCalls(compute)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(combined, ["1"])]
        assert started.wait(10)
        for count, size in enumerate((40, 40, 100), start=1):
            futures.append(pool.submit(combined, ["2"] * size))
            wait_until(lambda count=count: len(combined._waiting) == count)
        go_on.set()
        assert [future.result().shape[0] for future in futures] == [1, 40, 40, 100]
    assert batches == [1, 40, 40, 100]


def test_an_error_reaches_every_caller_of_the_batch_and_none_after() -> None:
    def compute(texts: list[str]) -> csr_array:
        if "bad" in texts:
            raise MemoryError("too much")
        return numbers(texts)

    combined = CombinedCalls(compute)
    with pytest.raises(MemoryError):
        combined(["bad"])
    assert combined(["3"]).toarray().tolist() == [[3.0]]


def test_an_answered_caller_does_not_wait_for_the_batch_behind_its_own() -> None:
    batches: list[list[str]] = []
    turns = [threading.Event() for _ in range(3)]

    def compute(texts: list[str]) -> csr_array:
        batches.append(texts)
        assert turns[len(batches) - 1].wait(10)
        return numbers(texts)

    combined = CombinedCalls(compute)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(combined, ["1"])
        wait_until(lambda: len(batches) == 1)
        second = [pool.submit(combined, [text]) for text in ("2", "3")]
        wait_until(lambda: len(combined._waiting) == 2)
        turns[0].set()
        wait_until(lambda: len(batches) == 2)
        third = pool.submit(combined, ["4"])
        wait_until(lambda: len(combined._waiting) == 1)
        turns[1].set()
        wait_until(lambda: len(batches) == 3)  # still computing
        assert [future.result(timeout=10).toarray().item() for future in (first, *second)] == [1.0, 2.0, 3.0]
        turns[2].set()
        assert third.result().toarray().item() == 4.0


def test_an_interrupted_computation_leaves_the_other_callers_to_be_answered() -> None:
    batches: list[list[str]] = []
    go_on = threading.Event()

    def compute(texts: list[str]) -> csr_array:
        batches.append(texts)
        if len(batches) == 1:
            assert go_on.wait(10)
        if len(batches) == 2:
            raise KeyboardInterrupt
        return numbers(texts)

    combined = CombinedCalls(compute)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(combined, ["1"])
        wait_until(lambda: len(batches) == 1)
        rest = [pool.submit(combined, [text]) for text in ("2", "3")]
        wait_until(lambda: len(combined._waiting) == 2)
        go_on.set()
        assert first.result(timeout=10).toarray().item() == 1.0
        outcomes = [future.exception(timeout=10) for future in rest]
    assert sum(isinstance(outcome, KeyboardInterrupt) for outcome in outcomes) == 1
    assert outcomes.count(None) == 1


@pytest.mark.parametrize("settings", [{}, {"query_family": "static"}, {"windows": "max"}])
def test_many_threads_get_what_one_gets(make_checkpoint: Callable[..., Path], settings: dict[str, str]) -> None:
    encoder = load_encoder(str(make_checkpoint()), dtype="float32", **settings)
    texts = [f"heart attack {i} " + "search " * (i % 50) for i in range(64)]
    queries = [encoder.encode_queries([text]).toarray() for text in texts]
    documents = encoder.encode_documents(texts).toarray()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: encoder.encode_queries([text]).toarray(), texts))
        blocks = list(pool.map(lambda start: encoder.encode_documents(texts[start::8]).toarray(), range(8)))
    for expected, got in zip(queries, found, strict=True):
        assert np.abs(expected - got).max() < 1e-5
    for start, block in enumerate(blocks):
        assert np.abs(documents[start::8] - block).max() < 1e-5
