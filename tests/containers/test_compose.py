"""docker-compose.yml with the real image: index, serve, search, stop, start again, upgrade.

`make container-test` builds the image and runs this with podman and podman-compose. Else it is skipped. The figures
that it prints are the image's size and the time from `up` to the first answer.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
IMAGE: Final = "lsr:0.1.0"
KEY: Final = "some-key-0123456789"
DOCUMENTS: Final = [
    {"id": f"d{n}", "title": f"Dish {n}", "text": "lobster roll" if n % 2 else "rye"} for n in range(100)
]
COMPOSE: Final = os.environ.get("COMPOSE")  # podman-compose from 1.3; `make container-test` sets it
PATIENCE: Final = 600  # seconds


def podman(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


class Project:
    """The compose file in a folder of its own, with a key, a small corpus and a free port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "docker-compose.yml", folder)
        (folder / "lsr_api_key.txt").write_text(f"{KEY} admin\n")
        (folder / "lsr_api_key.txt").chmod(0o644)
        (folder / "corpora").mkdir()
        (folder / "corpora" / "dishes.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS)))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {"CORPORA": str(folder / "corpora"), "LSR_PORT": str(self.port), "LSR_IMAGE": IMAGE}

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(COMPOSE), *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def container(self) -> str:
        return podman("ps", "--quiet", "--filter", "label=com.docker.compose.service=service")

    def hits(self) -> list[str]:
        """Wait for the service and return the ids of a search."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/collections/main/search",
            data=json.dumps({"query": "lobster", "k": 100}).encode(),
            headers={"content-type": "application/json", "authorization": f"Bearer {KEY}"},
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    value: dict[str, Any] = json.load(answer)
                    return sorted(hit["id"] for hit in value["hits"])
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                if isinstance(error, urllib.error.HTTPError) and error.code != 503:
                    raise AssertionError(error.read()) from error
                assert time.monotonic() < deadline, podman("logs", self.container, check=False)
                time.sleep(0.1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    if shutil.which("podman") is None or COMPOSE is None:
        pytest.skip("make container-test runs these, with podman and podman-compose")
    if subprocess.run(["podman", "image", "exists", IMAGE], check=False).returncode:
        pytest.skip(f"the image {IMAGE} does not exist: make image builds it")
    made = Project(tmp_path_factory.mktemp("lsrcompose"))
    try:
        yield made
    finally:
        made.compose("down", "--volumes")
        podman("rmi", "--force", "lsr:upgraded", check=False)


EXPECTED: Final = sorted(document["id"] for document in DOCUMENTS if "lobster" in document["text"])


def measured(**figures: float) -> None:
    """Print figures as a JSON line."""
    print("\n" + json.dumps({name: round(value, 1) for name, value in figures.items()}))


@pytest.mark.timeout(1800)
def test_a_job_fills_a_collection_and_the_service_answers(project: Project) -> None:
    started = time.monotonic()
    project.compose(
        "--profile", "job", "run", "--rm", "index", "/corpora/dishes.jsonl", "--out", "/data/main", "--encoder", "bm25"
    )
    indexed = time.monotonic()
    project.compose("up", "--detach", "service")
    assert project.hits() == EXPECTED
    answered = time.monotonic()
    size = int(podman("image", "inspect", IMAGE, "--format", "{{.Size}}"))
    measured(image_mb=size / 1e6, job_with_empty_volumes_s=indexed - started, up_to_first_answer_s=answered - indexed)


def test_the_container_has_no_rights_that_it_does_not_need(project: Project) -> None:
    container = project.container
    assert podman("exec", container, "id", "-u") == "1000"
    status = podman("exec", container, "grep", "-E", "^(CapEff|CapPrm|CapBnd|NoNewPrivs)", "/proc/1/status").split()
    assert status == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]
    for place in ("/opt/lsr/x", "/home/lsr/x", "/usr/local/bin/x"):
        assert podman("exec", container, "sh", "-c", f"touch {place} 2>/dev/null || echo refused") == "refused"
    assert podman("exec", container, "sh", "-c", "touch /tmp/x /data/.x /cache/.x && rm /data/.x /cache/.x") == ""
    inspected = json.loads(podman("inspect", container))[0]["HostConfig"]
    assert inspected["ReadonlyRootfs"] is True
    assert inspected["Memory"] == 4 << 30
    assert inspected["PidsLimit"] == 512


def test_the_health_check_passes(project: Project) -> None:
    assert podman("healthcheck", "run", project.container) in ("", "healthy")


@pytest.mark.timeout(1800)
def test_what_was_indexed_is_there_after_a_stop(project: Project) -> None:
    started = time.monotonic()
    project.compose("stop", "service")
    stopped = time.monotonic()
    assert stopped - started < 30  # before it is killed
    project.compose("start", "service")
    assert project.hits() == EXPECTED
    measured(stop_s=stopped - started, start_to_first_answer_s=time.monotonic() - stopped)


@pytest.mark.timeout(1800)
def test_an_upgrade_keeps_the_collections(project: Project) -> None:
    before = podman("inspect", project.container, "--format", "{{.Image}}")
    podman("commit", "--quiet", "--change", "LABEL upgraded=yes", project.container, "lsr:upgraded")
    project.environment["LSR_IMAGE"] = "lsr:upgraded"
    started = time.monotonic()
    project.compose("up", "--detach", "service")
    assert project.hits() == EXPECTED
    measured(upgrade_to_first_answer_s=time.monotonic() - started)
    assert podman("inspect", project.container, "--format", "{{.Image}}") != before
