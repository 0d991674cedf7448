"""`lsr doctor`: what a bug report needs, and what commonly goes wrong with an installation."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal, NamedTuple

from lsr.cli.output import JsonFlag, human_bytes, print_json, print_table

_PACKAGES: Final = ("numpy", "scipy", "numba", "pyarrow", "torch", "transformers", "fastapi", "uvicorn", "ranx")
_MIN_FREE_BYTES: Final = 1 << 30


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    verdict: Literal["ok", "warning", "failure"]
    detail: str


def doctor(json: JsonFlag = False) -> int:
    """Check the installation.

    Packages, the cache of compiled kernels, SQLite, disk, devices; the exit code is 1 on a failure.
    """
    findings = [_system(), *map(_package, _PACKAGES), _sqlite(), _kernel_cache(), _disk(), _device()]
    if json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(("checked", "verdict", "detail"), findings)
    return 1 if any(finding.verdict == "failure" for finding in findings) else 0


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


def _sqlite() -> Finding:
    with sqlite3.connect(":memory:") as connection:
        modes = {row[0] for row in connection.execute("PRAGMA compile_options")}
    threads = "THREADSAFE=0" not in modes
    return Finding(
        "sqlite", "ok" if threads else "failure", sqlite3.sqlite_version + ("" if threads else ", no threads")
    )


def _kernel_cache() -> Finding:
    """Compiled kernels are kept in NUMBA_CACHE_DIR, or beside the code: without either each start compiles anew."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else Path(__file__).parents[2] / "index" / "kernels"
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if os.access(nearest, os.W_OK):
        return Finding("kernel cache", "ok", str(folder))
    return Finding(
        "kernel cache", "warning", f"{folder} cannot be written: set NUMBA_CACHE_DIR, or each start compiles"
    )


def _disk() -> Finding:
    usage = os.statvfs(tempfile.gettempdir())
    free = usage.f_bavail * usage.f_frsize
    verdict: Literal["ok", "warning"] = "ok" if free >= _MIN_FREE_BYTES else "warning"
    return Finding("temporary space", verdict, f"{human_bytes(free)} free in {tempfile.gettempdir()}")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", "ok", f"cuda: {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps")
    return Finding("device", "ok", f"cpu only, {torch.get_num_threads()} threads")
