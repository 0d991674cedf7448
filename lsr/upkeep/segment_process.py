"""Writes a segment, or measures recall targets, in a separate process, so that no search waits meanwhile.

`run_in_child` starts Python with `main` and the arguments COLLECTION JOB PIPE; the child finds the same lsr as the
parent, whatever the current folder holds. It writes and publishes the segment, at low priority and on one thread, and
prints the catalog's entry for it as JSON; `measure_in_child` does the same with curves. PIPE is the reading end of a
pipe whose other end the parent holds. It is closed when the parent ends for any reason, and then the child ends too.

A seal has a higher priority than a merge: until it is done, every search scores the pending documents individually.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from index.errors import SparseIndexError
from index.searching.calibration import Calibration
from lsr.errors import CollectionCorrupt, Interrupted, LsrError, StorageFull
from lsr.storage import layout
from lsr.storage.segment import FinishedSegment
from lsr.upkeep.recall import RecallJob, measure_curves
from lsr.upkeep.segment_jobs import Job, run_job

_MERGE_NICENESS = 15
_SEAL_NICENESS = 5
_ROOT = Path(__file__).resolve().parents[2]
# -P leaves the current folder out of the path; where lsr is in no other folder of it, its own one is added.
_START = f"import sys; sys.path.append(sys.argv.pop(1)); from {__name__} import main; sys.exit(main())"
_EXPECTED = 3  # exit status: the output is an error that the caller expects


def run_in_child(
    collection: Path, job: Job, on_start: Callable[[subprocess.Popen[bytes]], None] | None = None
) -> FinishedSegment:
    """Run a job in a child process; `on_start` receives the process and may stop it early.

    Raises StorageFull, CollectionCorrupt, Interrupted if a signal stopped the child, otherwise LsrError.
    """
    return FinishedSegment(**_answer_of_child(collection, job.to_json(), on_start))


def measure_in_child(
    collection: Path, job: RecallJob, on_start: Callable[[subprocess.Popen[bytes]], None] | None = None
) -> list[Calibration]:
    """Measure the curves of a job in a child process; raises as `run_in_child`."""
    answer = _answer_of_child(collection, {"recall": job.to_json()}, on_start)
    return [Calibration.from_json(curve) for curve in answer]


def _answer_of_child(
    collection: Path, job: dict[str, Any], on_start: Callable[[subprocess.Popen[bytes]], None] | None
) -> Any:
    reading, writing = os.pipe()
    try:
        arguments = [str(collection.resolve()), json.dumps(job), str(reading)]
        command = [sys.executable, "-P", "-c", _START, str(_ROOT), *arguments]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(reading,)
        ) as child:
            if on_start is not None:
                on_start(child)
            answer, complaint = child.communicate()
    finally:
        os.close(reading)
        os.close(writing)
    if child.returncode == 0:
        return json.loads(answer)
    if child.returncode < 0:
        raise Interrupted(f"signal {-child.returncode} stopped a background process of {collection}")
    if child.returncode == _EXPECTED:
        raise _error_of(json.loads(answer))
    raise LsrError(f"a background process of {collection} failed: {complaint.decode(errors='replace').strip()[-2000:]}")


def main() -> int:
    """Do the job that the arguments describe; return the exit status."""
    collection, values, pipe = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    is_seal = "recall" not in values and not values["inputs"]
    os.nice(_SEAL_NICENESS if is_seal else _MERGE_NICENESS)
    try:
        catalog = layout.open_catalog(collection, "r")
        try:
            shape = layout.read_shape(catalog)
        finally:
            catalog.close()
        answer: Any
        if "recall" in values:
            curves = measure_curves(collection, RecallJob.from_json(values["recall"]), shape)
            answer = [curve.to_json() for curve in curves]
        else:
            answer = asdict(run_job(collection, Job.from_json(values), shape))
    except (LsrError, SparseIndexError) as error:
        answer = {"error": type(error).__name__, "message": str(error)}
        for name in ("path", "reason"):
            answer[name] = str(getattr(error, name, ""))
        sys.stdout.write(json.dumps(answer))
        return _EXPECTED
    sys.stdout.write(json.dumps(answer))
    return 0


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # the parent never writes: this returns when the parent's end is closed
    os._exit(1)


def _error_of(answer: dict[str, str]) -> LsrError:
    if answer["error"] == StorageFull.__name__:
        return StorageFull(answer["message"])
    if answer["path"]:
        return CollectionCorrupt(answer["path"], answer["reason"] or answer["message"])
    return LsrError(answer["message"])
