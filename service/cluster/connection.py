"""A connection to a Ray cluster: one at an address, or a small one on this machine.

The local cluster has no dashboard and asks for a token that this process makes, since some of Ray's ports listen on all
addresses of the machine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from lsr.errors import ClusterUnavailable

LOCAL: Final = "local"
_OBJECT_STORE: Final = 200 << 20  # bytes; what passes between workers is small
_START_SECONDS: Final = "180"  # a busy machine starts Ray's processes slowly
_CONNECT_SECONDS: Final = 5.0
_INSTALL: Final = "pip install 'lsr[ray]'"


@contextlib.contextmanager
def connected(address: str, *, cpus: int | None = None, objects: int = _OBJECT_STORE) -> Iterator[Any]:
    """Connect to the cluster at `address` while the block runs; yields the module `ray`.

    address  "local": a cluster of this process on this machine, which ends with the block
    cpus     of a local cluster; None: all cores of this machine

    Raises ClusterUnavailable where Ray is not installed or no cluster answers.
    """
    if address == LOCAL:
        _ask_for_a_token()
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        if address == LOCAL:
            _start_local(ray, cpus, objects)
        else:
            _check_answers(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
    except Exception as error:  # Ray raises plain exceptions, too
        raise ClusterUnavailable(
            f"no Ray cluster answers at {address!r} ({_first_line(error)}): start one with `ray start --head`, give "
            "its address (HOST:6379, or auto), or use --ray local"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _ask_for_a_token() -> None:
    """Let the local cluster ask for a token, unless the environment says otherwise. Ray's processes inherit it.

    Ray reads the mode when it is imported: where it is imported already, the mode stays as it was.
    """
    if "ray" in sys.modules or "RAY_AUTH_MODE" in os.environ:
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _check_answers(address: str) -> None:
    """Raise OSError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.removeprefix("ray://").strip("[]"), int(port)), _CONNECT_SECONDS).close()


def import_ray() -> Any:
    """Return the module `ray`; raises ClusterUnavailable where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", _START_SECONDS)
    try:
        import ray
    except ImportError as error:
        raise ClusterUnavailable(f"Ray is not installed: {_INSTALL}") from error
    return ray


def on_this_node(ray: Any) -> Any:
    """Return the scheduling strategy that starts an actor on this process's node, or elsewhere where it cannot."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)


def _start_local(ray: Any, cpus: int | None, objects: int) -> None:
    ray.init(
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=objects,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.environ.get("LSR_RAY_TEMP") or os.path.join(tempfile.gettempdir(), "lsr-ray"),  # noqa: PTH118
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
