"""Nodes killed under load for half a minute, one at a time; benchmarks/cluster_faults.py runs five minutes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lsr[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]


def test_killed_nodes_cost_no_wrong_answer_no_acknowledged_write_and_no_failed_request() -> None:
    # One at a time: a busy machine may start replicas more slowly than nodes are killed, and then a shard has none.
    options = ["--seconds", "30", "--documents", "500", "--nodes", "4", "--one-at-a-time"]
    command = [sys.executable, str(ROOT / "benchmarks" / "cluster_faults.py"), *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=850, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    figures = json.loads(ended.stdout.strip().splitlines()[-1])
    assert figures["killed"] >= 1
    assert figures["searches"] > 20
    assert figures["written"] > 0
    assert (figures["wrong"], figures["lost"], figures["failed"], figures["failed_writes"]) == (0, 0, {}, {})
