"""Batches computed in parallel: their results, the order, and errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from encoders.compute.batches import compute_each


@pytest.fixture
def two_threads() -> Iterator[None]:
    """torch with two threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_results_are_in_the_order_of_the_batches_and_each_is_computed_by_one_thread() -> None:
    together = threading.Barrier(2)

    def work(batch: int) -> tuple[int, int]:
        together.wait(timeout=30)  # breaks if the batches run one after the other
        return batch, torch.get_num_threads()

    assert compute_each(work, [3, 1, 4, 2]) == [(3, 1), (1, 1), (4, 1), (2, 1)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_fewer_batches_than_threads_are_computed_by_the_caller_with_all_of_them() -> None:
    found = compute_each(lambda batch: (batch, torch.get_num_threads(), threading.current_thread()), ["one"])

    assert found == [("one", 2, threading.current_thread())]


@pytest.mark.usefixtures("two_threads")
def test_a_small_batch_is_computed_by_one_thread() -> None:
    found = compute_each(lambda batch: (batch, torch.get_num_threads()), ["one"], small=True)

    assert found == [("one", 1)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_that_start_later_have_as_many_as_before() -> None:
    compute_each(str, [1, 2])
    found: list[int] = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()

    assert found == [2]


@pytest.mark.usefixtures("two_threads")
def test_an_error_is_raised_and_later_batches_are_dropped() -> None:
    seen: list[int] = []

    def work(batch: int) -> int:
        seen.append(batch)
        if batch == 0:
            raise ValueError("batch 0")
        threading.Event().wait(0.01)
        return batch

    with pytest.raises(ValueError, match="batch 0"):
        compute_each(work, range(1000))

    assert len(seen) < 1000
