"""A local cluster listens on the loopback address only, and answers only who knows its token."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'lsr[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLUSTER = """
import os, subprocess, sys
from service.cluster.connection import connected
from tests.service.cluster_processes import open_ports
with connected("local", cpus=1) as ray:
    print("own", ray.get(ray.remote(lambda: 7).remote()))
    from ray import serve
    serve.start(proxy_location="Disabled")
    print("open", open_ports())
    address = ray.get_runtime_context().gcs_address
    client = (
        f"import ray\\ntry:\\n  ray.init(address={address!r}, log_to_driver=False, logging_level='ERROR')\\n"
        "  print('let in', ray.get(ray.remote(lambda: 8).remote()))\\n"
        "except BaseException as error:\\n  print('refused', type(error).__name__)"
    )
    for name, token in (("the token", os.environ["RAY_AUTH_TOKEN"]), ("another token", "f" * 64)):
        environment = {**os.environ, "RAY_AUTH_TOKEN": token}
        ended = subprocess.run([sys.executable, "-c", client], env=environment, capture_output=True, text=True)
        print(name, ended.stdout.strip().splitlines()[-1])
"""


def test_a_local_cluster_opens_no_port_to_other_machines_and_refuses_a_client_with_another_token() -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_AUTH", "RAY_ENABLE"))}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", CLUSTER]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=850)
    lines = ended.stdout.strip().splitlines()
    assert "own 7" in lines, ended.stderr[-2000:]
    assert "open []" in lines
    assert "the token let in 8" in lines
    assert any(line.startswith("another token refused") for line in lines)
