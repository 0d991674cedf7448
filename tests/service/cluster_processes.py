"""The processes of a test's Ray actors, so that a test can kill them."""

from __future__ import annotations

import os
from pathlib import Path


def worker_processes(name: str) -> list[int]:
    """The processes of this test's actors of a class: Ray shows the class in the process's title."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if title.startswith("ray::") and name in title and is_ours(int(folder.name)):
            found.append(int(folder.name))
    return sorted(found)


def is_ours(process: int) -> bool:
    """Whether a process descends from this one."""
    while process > 1:
        if process == os.getpid():
            return True
        try:
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return False
        process = int(status.rpartition(")")[2].split()[1])
    return False
