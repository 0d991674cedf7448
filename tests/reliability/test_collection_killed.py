"""After a kill at a mutating system call, a collection has the state before or after the operation, and is writable.

strace counts the mutating system calls of an operation; then the operation runs once for each of them, and is killed
(SIGKILL) as it makes that call. The suite takes four calls of each operation; LSR_KILL_EVERY=1 takes all, some 1,300,
in 20 minutes or more (give pytest `--timeout 0`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import SparseByToken
from lsr.errors import CollectionNotFound
from lsr.storage.catalog import CATALOG_FILE
from lsr.writing import bulk_load

OPERATIONS_FILE = Path(__file__).with_name("collection_operations.py")
OPERATIONS_MODULE = runpy.run_path(str(OPERATIONS_FILE))
OPERATIONS, document, make_base = (OPERATIONS_MODULE[name] for name in ("OPERATIONS", "document", "make_base"))
EVERY = int(os.environ.get("LSR_KILL_EVERY", "0"))  # 0: four calls of each operation
CALLS = (
    "write,pwrite64,writev,pwritev,fsync,fdatasync,msync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,ftruncate,truncate,fallocate"
)


class Zygote:
    """The process that forks a child for each operation."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(OPERATIONS_FILE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready\n"

    def run(self, operation: str, folder: Path, trace: Path, inject: str | None) -> int:
        """Run an operation under strace and return its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"operation": operation, "folder": str(folder)}) + "\n")
        self._process.stdin.flush()
        pid = json.loads(self._read())["pid"]
        command = ["strace", "-f", "-o", str(trace), "-e", f"trace={CALLS}", "-p", str(pid)]
        if inject is not None:
            command += ["-e", f"inject={inject}"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            if "attached" not in line:
                os.kill(pid, signal.SIGKILL)
                self._read()
                pytest.skip(f"strace cannot attach here: {line.strip()}")
            os.kill(pid, signal.SIGCONT)
            status = int(json.loads(self._read())["status"])
            tracer.stderr.read()
        return status

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: no operation can be killed at a chosen system call")
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "c"
    make_base(folder)
    lines: list[dict[str, Any]] = [
        {"id": f"d{n:02}", "text": f"lobster word{n % 7}", "metadata": {"n": n}} for n in range(34)
    ]
    for n in range(0, 34, 2):
        lines[n]["vectors"] = {"meaning": {"dense": [n, 1.5, -2.0, n % 5, 1]}}
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, lines[3]]))
    return folder


def copy_of(folder: Path, target: Path) -> Path:
    """A copy that shares the segments' files, which never change."""

    def copy(source: str, destination: str) -> None:
        if "/segments/" in source:
            os.link(source, destination)
        else:
            shutil.copy2(source, destination)

    shutil.copytree(folder, target, copy_function=copy)
    return target


def observe(folder: Path) -> object:
    """Everything that a user can see: documents, exact rankings of several queries, filters."""
    assert verify_collection(folder) == []
    with Collection.open(folder, "w") as collection:
        found = [collection.get(f"d{number:02}") for number in range(100)]
        searches = [("lobster roll", "text"), ("new crab", "text"), (SparseByToken({"all": 1.0, "t2": 0.5}), "splade")]
        if "splade" not in collection.info().vectors:
            searches = [("lobster word3", "default")]
        rankings = [
            [(hit.id, hit.score) for hit in collection.search(query, using=using, k=50, exact=True, filter=where).hits]
            for query, using in searches
            for where in (None, {"n": {"gte": 20}})
            if where is None or collection.schema.fields
        ]
        dense = [vector_of(collection, f"d{number:02}") for number in range(100)]
        fields = dict(collection.schema.fields)
        odd = sorted(collection.matching({"odd": True, "lang": {"exists": False}})) if "odd" in fields else None
        live = {view.segment.row.uuid for view in collection._state.generation.segments}
        assert {path.name for path in (folder / "segments").iterdir()} == live
        return found, rankings, dense, collection.info().documents, fields, odd


def vector_of(collection: Collection, identifier: str) -> list[float] | None:
    vector = collection.dense_vector(identifier, "meaning")
    return None if vector is None else vector.tolist()


def observe_loaded(folder: Path) -> object:
    """The loaded collection after the load was run again with resume."""
    with contextlib.suppress(CollectionNotFound):  # it is reported as unfinished
        Collection.open(folder / "loaded", "w").close()
    OPERATIONS["load"](folder)
    return observe(folder / "loaded")


def observe_created(folder: Path) -> object:
    if not (folder / "created" / CATALOG_FILE).exists():
        OPERATIONS["create"](folder)
    return observe(folder / "created")


OBSERVERS = {"load": observe_loaded, "create": observe_created}


def kill_points(trace: Path) -> list[str]:
    """One strace injection for each mutating call that was traced: the n-th call of a name in the first thread."""
    counts: Counter[str] = Counter()
    lines = trace.read_text().splitlines()
    first = lines[0].split()[0]
    points = []
    for line in lines:
        pid, call = line.split(maxsplit=1)
        name = re.match(r"\w+", call)
        if pid == first and name is not None and name[0] in CALLS.split(","):
            counts[name[0]] += 1
            points.append(f"{name[0]}:signal=SIGKILL:when={counts[name[0]]}")
    return points


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["write", "delete", "seal", "merge", "extend", "create", "load"])
def test_a_kill_leaves_the_old_state_or_the_new_one(
    operation: str, zygote: Zygote, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_load, "BATCH_LINES", bulk_load.BATCH_LINES)  # restores what `load` sets in this process
    monkeypatch.setattr(bulk_load, "SEGMENT_DOCUMENTS", bulk_load.SEGMENT_DOCUMENTS)
    watch = OBSERVERS.get(operation, observe)
    undisturbed = copy_of(base, tmp_path / "undisturbed")
    assert zygote.run(operation, undisturbed, tmp_path / "trace", None) == 0
    points = kill_points(tmp_path / "trace")
    before = watch(copy_of(base, tmp_path / "before"))
    after = watch(undisturbed)
    assert len(points) > 4
    killed = 0
    step = EVERY or len(points) // 4
    for at in range(step // 2, len(points), step):
        folder = copy_of(base, tmp_path / f"at-{at}")
        status = zygote.run(operation, folder, tmp_path / "trace", points[at])
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        found = watch(folder)
        assert found == after or (status != 0 and found == before), points[at]
        if operation not in OBSERVERS:
            with Collection.open(folder, "w") as collection:
                collection.write([document(50, "written afterwards")])
                collection.seal()
                assert [hit.id for hit in collection.search("afterwards", using="text").hits] == ["d50"]
        shutil.rmtree(folder)
    assert killed > 0
    print(f"{operation}: killed at {killed} of {len(points)} mutating calls")


@pytest.mark.slow
def test_a_failing_disk_refuses_a_write_and_the_next_one_works(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "c")
    assert zygote.run("write_and_fail", folder, tmp_path / "trace", "fdatasync:error=EIO:when=1") == 0
    with Collection.open(folder) as collection:
        assert collection.get("d80") is None
        assert collection.get("d81") is not None
    assert verify_collection(folder) == []
