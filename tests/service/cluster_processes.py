"""The processes of a test's Ray actors, so that a test can kill them, and the ports that they open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_LISTENS = "0A"
_LOOPBACK_6 = "00000000000000000000000001000000"
_MAPPED_LOOPBACK = "0000000000000000FFFF00000100007F"


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


def open_ports() -> list[str]:
    """Where this process and its descendants listen on more than the loopback address: "title address" of each."""
    listening: dict[str, str] = {}
    for table, loopback in (("tcp", ("0100007F",)), ("tcp6", (_LOOPBACK_6, _MAPPED_LOOPBACK))):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].rpartition(":")
            if fields[3] == _LISTENS and address not in loopback:
                listening[f"socket:[{fields[9]}]"] = f"{address}:{int(port, 16)}"
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if is_ours(int(folder.name)):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [f"{title[:60]} {listening[one]}" for one in _open_files(folder) if one in listening]
    return sorted(found)


def _open_files(process: Path) -> Iterator[str]:
    for path in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            yield str(path.readlink())


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
