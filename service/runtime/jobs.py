"""Jobs: long writes, whose state is available under `/v1/jobs/{id}`.

A write that is not done after `write_wait` seconds (such as text that a model must encode first) is answered 202 with a
job; with `Prefer: respond-async` it is answered so at once. Its documents are durable only when the job is done. Jobs
are in memory: a job that is lost with the process was never acknowledged. The last finished jobs are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, Final
from uuid import uuid4

from lsr.errors import EXPECTED_ERRORS
from service.problems import ProblemError, problem_of

MAX_FINISHED: Final = 1_000


class Jobs:
    """The jobs of one application. Safe to use from many threads."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, tuple[str, Future[dict[str, Any]]]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, collection: str, future: Future[dict[str, Any]]) -> dict[str, Any]:
        """Add a write as a job and return its description."""
        job = uuid4().hex
        with self._lock:
            finished = [old for old, (_, one) in self._jobs.items() if one.done()]
            for old in finished[: max(0, len(finished) - MAX_FINISHED + 1)]:
                del self._jobs[old]
            self._jobs[job] = (collection, future)
        return self.show(job)

    def show(self, job: str) -> dict[str, Any]:
        """Return a job's state, with its answer or its problem once it is done; raises a 404 problem."""
        with self._lock:
            found = self._jobs.get(job)
        if found is None:
            raise ProblemError(
                404, "job-not-found", "Job not found", f"no job {job!r:.80}; the last {MAX_FINISHED} jobs are kept"
            )
        collection, future = found
        shown: dict[str, Any] = {"job": job, "collection": collection, "status": "waiting", "durable": False}
        if not future.done():
            return shown
        error = future.exception()
        if error is None:
            return shown | {"status": "done", "durable": True, "result": future.result()}
        return shown | {"status": "failed", "problem": _shown(error)}


class OwnJobs(Jobs):
    """The jobs of one caller among those of the application: it is shown no others."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._all = jobs
        self._own: OrderedDict[str, None] = OrderedDict()

    def add(self, collection: str, future: Future[dict[str, Any]]) -> dict[str, Any]:
        """Add a write as a job and return its description."""
        shown = self._all.add(collection, future)
        with self._lock:
            self._own[shown["job"]] = None
            while len(self._own) > MAX_FINISHED:
                self._own.popitem(last=False)
        return shown

    def show(self, job: str) -> dict[str, Any]:
        """Return the state of one of the caller's jobs; raises a 404 problem, for another's too."""
        with self._lock:
            is_own = job in self._own
        return self._all.show(job) if is_own else super().show(job)


def _shown(error: BaseException) -> dict[str, Any]:
    if isinstance(error, ProblemError):
        problem = error
    elif isinstance(error, EXPECTED_ERRORS):
        problem = problem_of(error)
    else:
        problem = ProblemError(500, "internal", "Internal error", "an error in the service; its log has details")
    return {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status_code,
        "detail": problem.detail,
    }
