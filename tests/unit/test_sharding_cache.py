"""The folders of replicas that follow a writer: one each, and nothing of a killed process stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from lsr.sharding.cache import ShardCache

HOLD = """
import sys
from pathlib import Path
from lsr.sharding.cache import ShardCache
held = ShardCache(Path(sys.argv[1])).scratch("killed")
(held.path / "segment").write_bytes(b"copied")
print("held", flush=True)
sys.stdin.read()
"""


def scratches(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "following").iterdir() if path.is_dir())


def test_the_scratch_folder_of_a_killed_process_is_removed_and_that_of_a_live_one_stays(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        first = ShardCache(tmp_path).scratch("first")
        assert scratches(tmp_path) == ["first", "killed"]
        other.send_signal(signal.SIGKILL)
    second = ShardCache(tmp_path).scratch("second")
    assert scratches(tmp_path) == ["first", "second"]
    assert sorted(path.name for path in (tmp_path / "following").glob("*.lock")) == ["first.lock", "second.lock"]
    first.close()
    second.close()


def test_a_full_cache_does_not_evict_scratch_folders(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, most_bytes=1)
    held = cache.scratch("replica")
    (held.path / "segment").write_bytes(b"copied")
    assert cache.evict() == []
    assert (held.path / "segment").read_bytes() == b"copied"
    held.close()
