"""Jobs: long writes, whose state is available under `/v1/jobs/{id}`.

A write that is not done after `write_wait` seconds (such as text that a model must encode first) is answered 202 with a
job; with `Prefer: respond-async` it is answered so at once. Its documents are durable only when the job is done. Jobs
are in memory: a job that is lost with the process was never acknowledged.

A finished job keeps the JSON of its answer and nothing else: an exception would keep the request's body and documents
alive through its traceback. The last MAX_FINISHED are kept, up to MAX_BYTES of answers.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, Final
from uuid import uuid4

import orjson

from lsr.errors import EXPECTED_ERRORS
from service.messages.rendering import to_json
from service.problems import ProblemError, problem_of, shortened

MAX_FINISHED: Final = 1_000
MAX_BYTES: Final = 16 << 20

Answer = dict[str, Any]
_logger = logging.getLogger("lsr.service")


class Jobs:
    """The jobs of one application. Safe to use from many threads."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}  # the collection of each job
        self._finished: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, collection: str, future: Future[Answer]) -> Answer:
        """Add a write as a job and return its description."""
        job = uuid4().hex
        with self._lock:
            self._waiting[job] = collection
        future.add_done_callback(lambda ended: self._finish(job, collection, ended))
        return self.show(job)

    def show(self, job: str) -> Answer:
        """Return a job's state, with its answer or its problem once it is done; raises a 404 problem."""
        with self._lock:
            collection = self._waiting.get(job)
            finished = self._finished.get(job)
        if collection is not None:
            return {"job": job, "collection": collection, "status": "waiting", "durable": False}
        if finished is None:
            raise ProblemError(
                404, "job-not-found", "Job not found", f"no job {job!r:.80}; the last {MAX_FINISHED} jobs are kept"
            )
        shown: Answer = orjson.loads(finished)
        return shown

    def _finish(self, job: str, collection: str, ended: Future[Answer]) -> None:
        shown: Answer = {"job": job, "collection": collection, "status": "failed", "durable": False}
        error = ended.exception()
        if error is None:
            shown |= {"status": "done", "durable": True, "result": ended.result()}
        else:
            shown["problem"] = _shown(error, job)
        content = to_json(shown)
        with self._lock:
            del self._waiting[job]
            self._finished[job] = content
            self._bytes += len(content)
            while len(self._finished) > MAX_FINISHED or (self._bytes > MAX_BYTES and len(self._finished) > 1):
                self._bytes -= len(self._finished.popitem(last=False)[1])


class OwnJobs(Jobs):
    """The jobs of one caller among those of the application: it is shown no others."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._all = jobs
        self._own: OrderedDict[str, None] = OrderedDict()

    def add(self, collection: str, future: Future[Answer]) -> Answer:
        """Add a write as a job and return its description."""
        shown = self._all.add(collection, future)
        with self._lock:
            self._own[shown["job"]] = None
            while len(self._own) > MAX_FINISHED:
                self._own.popitem(last=False)
        return shown

    def show(self, job: str) -> Answer:
        """Return the state of one of the caller's jobs; raises a 404 problem, for another's too."""
        with self._lock:
            is_own = job in self._own
        return self._all.show(job) if is_own else super().show(job)


def _shown(error: BaseException, job: str) -> Answer:
    if isinstance(error, ProblemError):
        problem = error
    elif isinstance(error, EXPECTED_ERRORS):
        problem = problem_of(error)
    else:
        _logger.error("unexpected error, job=%s", job, exc_info=error)
        problem = ProblemError(500, "internal", "Internal error", "an error in the service; its log has details")
    return {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status_code,
        "detail": shortened(problem.detail),
    }
