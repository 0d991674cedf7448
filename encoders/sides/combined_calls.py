"""Queries that arrive at the same time are encoded together.

A model encodes eight short queries in little more time than one, and eight threads that each run it compete for the
same cores. So one thread at a time computes, for all calls that wait: meanwhile the next callers queue and become the
next batch. No call waits for a timer, and a single query starts at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_Rows = TypeVar("_Rows", bound=csr_array | NDArray[np.float32])

_MOST_TEXTS = 64  # per batch; a call with more texts is a batch of its own


class CombinedCalls(Generic[_Rows]):
    """`compute`, which returns a row for each text, for many threads: one computation answers all calls that wait."""

    def __init__(self, compute: Callable[[list[str]], _Rows]) -> None:
        self._compute = compute
        self._waiting: list[_Call[_Rows]] = []
        self._computing = False
        self._changed = threading.Condition()

    def __call__(self, texts: list[str]) -> _Rows:
        """Return `compute(texts)`."""
        call: _Call[_Rows] = _Call(texts)
        with self._changed:
            self._waiting.append(call)
        while batch := self._turn_of(call):
            try:
                self._answer(batch)
            except BaseException:  # Ctrl-C in this thread does not answer the other calls
                with self._changed:
                    self._waiting[:0] = [other for other in batch if other is not call]
                raise
            finally:
                with self._changed:
                    self._computing = False
                    self._changed.notify_all()
        if call.error is not None:
            raise call.error
        if call.rows is None:
            raise RuntimeError("a call was answered with neither rows nor an error")
        return call.rows

    def _turn_of(self, call: _Call[_Rows]) -> list[_Call[_Rows]]:
        """Wait until no thread computes and return the next batch; return an empty list once `call` is answered."""
        with self._changed:
            self._changed.wait_for(lambda: call.is_answered or not self._computing)
            if call.is_answered:
                return []
            self._computing = True
            return self._next_batch()

    def _next_batch(self) -> list[_Call[_Rows]]:
        batch: list[_Call[_Rows]] = []
        texts = 0
        for call in self._waiting:
            if batch and texts + len(call.texts) > _MOST_TEXTS:
                break
            batch.append(call)
            texts += len(call.texts)
        del self._waiting[: len(batch)]
        return batch

    def _answer(self, batch: list[_Call[_Rows]]) -> None:
        try:
            matrix: Any = self._compute([text for call in batch for text in call.texts])
        except Exception as error:
            for call in batch:
                call.error = error
            return
        first = 0
        for call in batch:
            call.rows = matrix[first : first + len(call.texts)]
            first += len(call.texts)


class _Call(Generic[_Rows]):
    """The texts of one caller, and their rows or an error."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.rows: _Rows | None = None
        self.error: Exception | None = None

    @property
    def is_answered(self) -> bool:
        """Whether it has rows or an error."""
        return self.rows is not None or self.error is not None
