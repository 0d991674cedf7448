"""The machine and the software of a measurement, so that readers can judge a time or reproduce it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("lsr", "numpy", "scipy", "numba", "ranx", "torch", "transformers", "pyarrow")
_SOURCE = Path(__file__).resolve().parents[1]


def describe_machine() -> dict[str, Any]:
    """Return processor, usable cores, memory in GiB, system. The host name is omitted: it may be private."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(_total_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def describe_software() -> dict[str, Any]:
    """Return the versions of Python and of the packages that affect a figure, and the commit of a checkout."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "commit": _commit()}


def peak_memory_bytes() -> int:
    """Return this process's peak resident memory so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _total_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str | None:
    """Return the checkout's commit, with a + if its code has uncommitted changes; None outside a checkout."""
    if not (_SOURCE / ".git").exists():
        return None
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "eval", "lsr", "index", "encoders")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_SOURCE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
