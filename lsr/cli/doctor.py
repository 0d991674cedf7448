"""`lsr doctor`: the facts that a bug report needs, and checks for common problems."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import typer

from lsr.cli.output import JsonFlag, human_bytes, print_json, print_table

Verdict = Literal["ok", "warning", "failure"]
PACKAGES: Final = ("numpy", "scipy", "numba", "pyarrow", "fastapi", "uvicorn", "ranx")
MIN_FREE_BYTES: Final = 1 << 30
MANY_DELETED: Final = 0.3  # of the documents in the segments


def doctor(
    directory: Annotated[
        Path | None,
        typer.Argument(help="A collection, or a folder of collections.", metavar="DIR", show_default=False),
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Check the installation, and collections if given.

    Checks packages, the cache of compiled kernels, SQLite, disk space and devices. Of a collection it checks what does
    not need all files to be read (lsr verify reads them). The exit code is 1 if a check fails.
    """

    findings = list(examine_installation())
    if directory is not None:
        findings.extend(examine_collections(directory))
    if json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(("checked", "verdict", "detail"), findings)
    return 1 if any(finding.verdict == "failure" for finding in findings) else 0


class Finding(NamedTuple):
    """The result of one check."""

    name: str
    verdict: Verdict
    detail: str


def examine_installation() -> Iterator[Finding]:
    """Yield the findings about the program and the machine."""
    yield _system()
    yield from map(_package, PACKAGES)
    yield from _models()
    yield _sqlite()
    yield _kernel_cache()
    yield _space("temporary space", Path(tempfile.gettempdir()), MIN_FREE_BYTES)


def examine_collections(directory: Path) -> Iterator[Finding]:
    """Yield the findings about a collection, or about each collection in a folder. Raises CollectionNotFound."""
    from lsr.errors import CollectionNotFound
    from lsr.storage.layout import is_collection

    folders = [directory] if is_collection(directory) else []
    if not folders and directory.is_dir():
        folders = sorted(folder for folder in directory.iterdir() if folder.is_dir() and is_collection(folder))
    if not folders:
        raise CollectionNotFound(f"{directory} is neither a collection nor a folder of collections")
    for folder in folders:
        yield from _collection(folder)


def _collection(folder: Path) -> Iterator[Finding]:
    from lsr.collection import Collection
    from lsr.errors import EXPECTED_ERRORS

    name = folder.name or str(folder.resolve().name)
    try:
        with Collection.open(folder) as collection:
            info = collection.info()
    except EXPECTED_ERRORS as error:
        yield Finding(name, "failure", str(error))
        return
    vectors = ", ".join(f"{vector}: {config.encoder or 'ready-made'}" for vector, config in info.vectors.items())
    detail = f"{info.documents:,} documents, {info.segments} segments, {info.pending:,} pending, {vectors}"
    yield Finding(name, "ok", detail)
    stored = info.documents + info.deleted
    if info.deleted > MANY_DELETED * stored:
        yield Finding(name, "warning", f"{info.deleted:,} of {stored:,} documents are deleted: lsr merge drops them")
    # A merge writes the new segment before it removes the old ones.
    yield _space(f"{name}: space", folder, max(info.bytes, MIN_FREE_BYTES))


def _system() -> Finding:
    from lsr import __version__

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"lsr {__version__}, Python {platform.python_version()}, {platform.platform()}, {cores} cores"
    return Finding("system", "ok", detail)


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "failure", "not installed: run make setup")


def _models() -> Iterator[Finding]:
    """Yield the packages that run models, and the device that they run on; an installation works without them."""
    from encoders.models_extra import INSTALL, PACKAGES, missing_packages

    missing = missing_packages()
    for name in PACKAGES:
        yield (
            Finding(name, "ok", f"not installed; only models need it: {INSTALL}") if name in missing else _package(name)
        )
    if not missing:
        yield _device()


def _sqlite() -> Finding:
    with sqlite3.connect(":memory:") as connection:
        options = {row[0] for row in connection.execute("PRAGMA compile_options")}
    if "THREADSAFE=0" in options:
        return Finding("sqlite", "failure", f"{sqlite3.sqlite_version} was built without thread support")
    return Finding("sqlite", "ok", sqlite3.sqlite_version)


def _kernel_cache() -> Finding:
    """Compiled kernels are cached in NUMBA_CACHE_DIR or next to the code; without a cache every start compiles them."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else Path(__file__).parents[2] / "index" / "kernels"
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if os.access(nearest, os.W_OK):
        return Finding("kernel cache", "ok", str(folder))
    return Finding(
        "kernel cache", "warning", f"{folder} is not writable: set NUMBA_CACHE_DIR, or every start compiles the kernels"
    )


def _space(name: str, folder: Path, wanted: int) -> Finding:
    free = shutil.disk_usage(folder).free
    if free >= wanted:
        return Finding(name, "ok", f"{human_bytes(free)} free")
    return Finding(name, "warning", f"{human_bytes(free)} free in {folder}, {human_bytes(wanted)} may be needed")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", "ok", f"cuda: {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps")
    return Finding("device", "ok", f"cpu only, {torch.get_num_threads()} threads")
