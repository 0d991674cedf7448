"""`lsr index --shards N --ray …`: actors read, encode and write; the driver hands out steps and publishes.

The steps are those of lsr/sharding/building.py. A worker has one step at a time, and what it returns is a small report:
documents and vectors go from the input to the shards' files, never through the driver. A worker that is killed is
replaced, and its step is given out again; a shard goes on after its last segment. A driver that is killed goes on with
`--resume`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from lsr.errors import EXPECTED_ERRORS, ClusterUnavailable, CollectionLocked, InvalidDocument, LsrError
from lsr.sharding.building import Build, OnProblem, Plan, make_common, make_part, make_shard
from lsr.sharding.manifest import FolderEntry, Publication, folder_entry
from lsr.sharding.places import Place
from lsr.sharding.publishing import copy_folder, publish
from lsr.sharding.splitting import describe_generation
from service.cluster.connection import on_this_node

_ATTEMPTS: Final = 5  # of a step whose worker is killed
_POLL_SECONDS: Final = 0.2
_TALLY_SECONDS: Final = 5.0
_LOCK_SECONDS: Final = 60.0
_SHOWN_PROBLEMS: Final = 1_000  # per shard; all are counted

BuildProgress = Callable[[str, int, int | None], None]  # phase, lines done, all lines


class ShardBuilt(NamedTuple):
    """What a worker returns of a shard."""

    report: dict[str, Any]
    digest: str
    entry: FolderEntry
    problems: list[tuple[str, int, str, str, str | None]]  # file, line, code, detail, field


class BuildReport(NamedTuple):
    """What a build did: the sums over all shards."""

    publication: Publication
    accepted: int
    failed: int
    empty: int
    lines: int
    segments: int


class Worker:
    """An actor: one step at a time."""

    def __init__(self, root: str, plan: dict[str, Any], tally: Any) -> None:
        self._build = Build(Path(root), plan_from(plan))
        self._tally = tally

    def part(self, part: tuple[int, int]) -> Any:
        """Spool one part; see `make_part`."""
        return answered(lambda: make_part(self._build, part, self._progress("reading")))

    def shard(self, number: int, uri: str | None) -> Any:
        """Load one shard; copy it to the object store at `uri`, where there is one."""
        return answered(lambda: self._shard(number, uri))

    def _shard(self, number: int, uri: str | None) -> ShardBuilt:
        problems: list[tuple[str, int, str, str, str | None]] = []

        def refused(file: str, line: int, error: InvalidDocument) -> None:
            if len(problems) < _SHOWN_PROBLEMS:
                problems.append((file, line, error.code, error.detail, error.field))

        found = None
        until = time.monotonic() + _LOCK_SECONDS
        while found is None:
            try:
                found = make_shard(self._build, number, self._progress("indexing"), refused)
            except CollectionLocked:  # by a worker of a driver that was killed: it ends soon
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
        folder = self._build.shard(number).relative_to(self._build.root).as_posix()
        entry = folder_entry(self._build.root, folder)
        if uri is not None:
            from lsr.sharding.places import place_of

            copy_folder(place_of(uri), entry, self._build.root)
        return ShardBuilt(found["report"], found["digest"], entry, problems)

    def _progress(self, phase: str) -> Callable[[int], None]:
        return lambda lines: self._tally.add.remote(phase, lines)


class Tally:
    """An actor that adds up what the workers have done."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}

    def add(self, phase: str, lines: int) -> None:
        """Add lines."""
        self._done[phase] = self._done.get(phase, 0) + lines

    def done(self, phase: str) -> int:
        """Return the lines that are done."""
        return self._done.get(phase, 0)


class Failed(NamedTuple):
    """An expected error of a worker, as it can be sent: its message."""

    kind: str
    message: str

    def error(self) -> LsrError:
        """Return the error for the driver."""
        hint = ""
        if self.kind in ("UnknownEncoder", "EncoderMismatch"):
            hint = "; put the encoder's files at the same path on every machine, then go on with --resume"
        return LsrError(f"a worker reports {self.kind}: {self.message}{hint}")


def answered(call: Callable[[], Any]) -> Any:
    """Return the result, or `Failed` for an expected error: not every exception can be sent between processes."""
    try:
        return call()
    except (*EXPECTED_ERRORS, OSError) as error:
        return Failed(type(error).__name__, str(error))


def build_shards(
    ray: Any,
    build: Build,
    place: Place,
    workers: int,
    progress: BuildProgress | None = None,
    on_problem: OnProblem | None = None,
) -> BuildReport:
    """Build all shards with `workers` actors, and publish them at `place`.

    Raises ClusterUnavailable where workers are killed again and again, LsrError for what a worker reports, and what
    publishing raises.
    """
    crew = Crew(ray, build, workers, progress)
    try:
        parts = crew.run("part", "reading", [(part,) for part in build.part_numbers], None)
        make_common(build)
        lines = sum(sum(report["lines"]) for report in parts)
        uri = None if place.folder is not None else place.uri
        built = crew.run("shard", "indexing", [(number, uri) for number in range(build.plan.shards)], lines)
    finally:
        crew.close()
    for one in built:
        for file, line, code, detail, field in one.problems:
            if on_problem is not None:
                on_problem(file, line, InvalidDocument(code, detail, field=field))
    if progress is not None:
        progress("publishing", 0, None)
    publication = describe_generation(
        build.root,
        build.plan.generation,
        build.plan.shards,
        digests=[one.digest for one in built],
        entries=[one.entry for one in built],
    )
    publish(place, publication, build.root)
    build.finish()
    sums = {key: sum(int(one.report[key]) for one in built) for key in ("accepted", "failed", "empty", "segments")}
    return BuildReport(publication, lines=lines, **sums)


class Crew:
    """The actors of a build, each with at most one step."""

    def __init__(self, ray: Any, build: Build, workers: int, progress: BuildProgress | None) -> None:
        self._ray = ray
        self._build = build
        self._progress = progress
        self._tally = (
            ray.remote(Tally).options(num_cpus=0, max_restarts=-1, scheduling_strategy=on_this_node(ray)).remote()
        )
        self._lines: dict[str, int] = {}  # that the tally has reported, by phase
        self._actors: list[Any] = [self._hire() for _ in range(workers)]

    def wait_until_ready(self) -> None:
        """Wait until the processes of all actors have started; `run` does not need it."""
        self._ray.get([actor.__ray_ready__.remote() for actor in self._actors])

    def run(self, method: str, phase: str, steps: Sequence[tuple[Any, ...]], lines: int | None) -> list[Any]:
        """Run all steps and return their results in order; raises LsrError, ClusterUnavailable."""
        waiting = deque(range(len(steps)))
        attempts = [0] * len(steps)
        results: list[Any] = [None] * len(steps)
        running: dict[Any, tuple[int, int]] = {}  # what is waited for -> (step, actor)
        idle = list(range(len(self._actors)))
        while waiting or running:
            while waiting and idle:
                step, actor = waiting.popleft(), idle.pop()
                attempts[step] += 1
                running[getattr(self._actors[actor], method).remote(*steps[step])] = (step, actor)
            done, _ = self._ray.wait(list(running), num_returns=1, timeout=_POLL_SECONDS)
            for reference in done:
                step, actor = running.pop(reference)
                try:
                    found = self._ray.get(reference)
                except self._ray.exceptions.RayTaskError:
                    raise  # a bug: expected errors are `Failed`
                except self._ray.exceptions.RayError as error:  # the worker, or the node that has its report, is gone
                    if attempts[step] >= _ATTEMPTS:
                        raise ClusterUnavailable(
                            f"a worker was killed {attempts[step]} times at the same step (out of memory?): "
                            "give the workers more memory, or index fewer documents at a time"
                        ) from error
                    self._actors[actor] = self._hire()
                    waiting.append(step)
                else:
                    if isinstance(found, Failed):
                        raise found.error()
                    results[step] = found
                idle.append(actor)
            if self._progress is not None:
                count = self._done(phase)
                self._progress(phase, count if lines is None else min(count, lines), lines)
        return results

    def close(self) -> None:
        """End the actors."""
        for actor in (*self._actors, self._tally):
            self._ray.kill(actor)

    def _done(self, phase: str) -> int:
        """Return the lines that are done. A tally that was killed begins again, and a build does not fail with it."""
        known = self._lines.get(phase, 0)
        try:
            found: int = self._ray.get(self._tally.done.remote(phase), timeout=_TALLY_SECONDS)
        except self._ray.exceptions.RayError:
            return known
        self._lines[phase] = max(known, found)
        return self._lines[phase]

    def _hire(self) -> Any:
        plan = asdict(self._build.plan)
        return self._ray.remote(Worker).options(num_cpus=1).remote(str(self._build.root), plan, self._tally)


def plan_from(value: dict[str, Any]) -> Plan:
    """Return a plan that was sent as JSON values."""
    return Plan(**{**value, "inputs": tuple(value["inputs"]), "identities": tuple(value["identities"])})
