"""docker-compose.cluster.yml and docker/kubernetes/raycluster.yaml: what can be checked without Docker and Kubernetes.

The RayCluster was compared with KubeRay's CRD of 2026-08 by hand (no unknown field, no wrong type). Here: that it names
the version of Ray that is tested, that every option of every `lsr` command exists, that only the router's port is open.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from lsr.cli.commands import app
from service.cluster.deployment import ServingOptions
from service.cluster.writers import LiveOptions

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text())
KUBERNETES = {one["kind"]: one for one in yaml.safe_load_all((ROOT / "docker/kubernetes/raycluster.yaml").read_text())}
ROUTER = KUBERNETES["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def commands() -> Iterator[list[str]]:
    texts = [text for service in COMPOSE["services"].values() for text in service.get("command", ())]
    for text in (*texts, *ROUTER["args"]):
        found = re.search(r"exec lsr (.*)", text)
        if found:
            yield shlex.split(found[1].replace("$$", "$"))


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command[0])
def test_every_option_of_a_command_exists(command: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    parsed = group.commands[command[0]]
    known = {name for parameter in parsed.params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = {word for word in command if word.startswith("--")}
    assert used
    assert used <= known


def test_the_cluster_runs_the_version_of_ray_that_is_tested() -> None:
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert KUBERNETES["RayCluster"]["spec"]["rayVersion"] == pinned[1]


def test_only_the_router_can_be_reached_and_ray_asks_for_a_token() -> None:
    assert {name for name, one in COMPOSE["services"].items() if one.get("ports")} == {"router"}
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"]["router"]["ports"])
    assert COMPOSE["x-lsr"]["environment"]["RAY_AUTH_MODE"] == "token"
    cluster = KUBERNETES["RayCluster"]["spec"]
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["headGroupSpec"]["rayStartParams"]["include-dashboard"] == "false"
    assert KUBERNETES["Service"]["spec"]["selector"] == {"app": "lsr-router"}
    closed = KUBERNETES["NetworkPolicy"]["spec"]
    assert closed["podSelector"]["matchLabels"] == {"ray.io/cluster": KUBERNETES["RayCluster"]["metadata"]["name"]}


def test_every_driver_has_a_node_without_cpus_in_its_container() -> None:
    """Without one `lsr … --ray` finds no node to connect to; with CPUs shards would be served beside the router."""
    drivers = [COMPOSE["services"][name]["command"] for name in ("index", "router")] + [ROUTER["args"]]
    for (command,) in drivers:
        assert re.search(r"ray start --address \S+:6379 --num-cpus 0 && exec lsr .* --ray auto ", command)


def test_every_container_that_searches_has_the_kernels_that_the_image_brings() -> None:
    """Without them each replica compiles its own for minutes."""
    assert "COPY docker/entrypoint docker/kernels docker/warm.sh /usr/local/bin/" in (ROOT / "Dockerfile").read_text()
    for name in ("head", "worker", "index", "router"):
        (command,) = COMPOSE["services"][name]["command"]
        assert command.startswith(". kernels && ")
    assert ROUTER["args"][0].startswith(". kernels && ")
    workers = KUBERNETES["RayCluster"]["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    assert {"name": "BASH_ENV", "value": "/usr/local/bin/kernels"} in workers[0]["env"]


def test_the_replicas_and_writers_fit_on_the_workers() -> None:
    (worker,), (router,) = COMPOSE["services"]["worker"]["command"], COMPOSE["services"]["router"]["command"]
    (index,) = COMPOSE["services"]["index"]["command"]

    def option(name: str, command: str) -> int:
        return int(re.findall(rf"--{name} (\d+)", command)[-1])

    have = COMPOSE["services"]["worker"]["deploy"]["replicas"] * option("num-cpus", worker)
    shards, replicas = option("shards", index), option("replicas", router)
    assert shards * replicas * ServingOptions().cpus + (shards + 1) * LiveOptions(Path("live")).cpus <= have


def test_only_the_router_is_asked_whether_it_is_ready() -> None:
    for name in ("head", "worker", "index"):
        assert COMPOSE["services"][name]["healthcheck"] == {"disable": True}
    assert "/readyz" in COMPOSE["services"]["router"]["healthcheck"]["test"][-1]


def test_workers_read_the_corpus_where_the_index_command_has_it() -> None:
    mounted = [COMPOSE["services"][name]["volumes"] for name in ("index", "worker")]
    assert mounted[0] == mounted[1]


def test_every_volume_that_is_mounted_exists() -> None:
    claims = {KUBERNETES["PersistentVolumeClaim"]["metadata"]["name"]}
    pods = [
        KUBERNETES["RayCluster"]["spec"]["workerGroupSpecs"][0]["template"]["spec"],
        KUBERNETES["Deployment"]["spec"]["template"]["spec"],
    ]
    for pod in pods:
        mounted = {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        used = {one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
        assert used <= claims
