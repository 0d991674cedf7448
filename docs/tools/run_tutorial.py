"""Run the tutorials as a reader does, in a folder of its own: `python docs/tools/run_tutorial.py docs/tutorials/*.md`.

Each ```sh block goes to one bash, each ```python block to one Python; both keep their state to the end. A ```text
block that follows is what the block prints, on stdout and stderr. In it `…` stands for anything within a line, and a
line with nothing else for any lines; a number before a unit of time or size (ms, s, MiB, …) for any number. A block
that exits with an error, or prints something else, fails. With --write, outputs that differ are replaced in the file.

The folder has links to samples/ and tests/data/; the ports 8080 and 8090 become free ones. A block under the comment
`<!-- not run: REASON -->` is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORTS = ("8080", "8090")
_FENCE = re.compile(r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S)
_UNITS = r"(?= (?:ms|s|seconds|minutes|kB|MB|MiB|GiB|documents/s)\b)"
_PYTHON = """
import contextlib, io, json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    printed = io.StringIO()
    failed = False
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            exec(compile(json.loads(line), "tutorial", "exec"), names)
        except BaseException:
            failed = True
            traceback.print_exc()
    sys.__stdout__.write(json.dumps([failed, printed.getvalue()]) + "\\n")
    sys.__stdout__.flush()
"""


@dataclass
class Step:
    """A block that is run: `line` is its place in the file, `expected` None where the file shows no output."""

    line: int
    kind: str
    code: str
    expected: str | None
    start: int  # of the output in the file's text
    stop: int


class TutorialFailed(Exception):
    """A block that failed or printed something else than the tutorial says."""


def steps(text: str) -> list[Step]:
    """Return a tutorial's blocks in order. Raises TutorialFailed for an output without a block."""
    found: list[Step] = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("kind")) + 1
        if match["reason"]:
            continue
        if match["kind"] in ("sh", "python"):
            found.append(Step(line, match["kind"], match["body"], None, -1, -1))
        elif match["kind"] == "text":
            if not found or found[-1].expected is not None:
                raise TutorialFailed(f"line {line}: an output that follows no block")
            found[-1].expected, found[-1].start, found[-1].stop = match["body"], match.start("body"), match.end("body")
    return found


def left_out(text: str) -> list[str]:
    """Return the reasons of the blocks that are not run."""
    return [match["reason"] for match in _FENCE.finditer(text) if match["reason"]]


def not_run(text: str) -> list[str]:
    """Return the blocks that are not run (tutorial_times.py runs them)."""
    return [match["body"] for match in _FENCE.finditer(text) if match["reason"]]


def agrees(expected: str, printed: str) -> bool:
    """Whether a block printed what the tutorial says, apart from the placeholders."""
    pattern = ""
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
            continue
        parts = re.split(rf"…|(?<![\w.])\d[\d,.]*{_UNITS}", line.rstrip())
        kept = re.findall(rf"…|(?<![\w.])\d[\d,.]*{_UNITS}", line.rstrip())
        pattern += re.escape(parts[0])
        for placeholder, part in zip(kept, parts[1:], strict=True):
            pattern += (".*?" if placeholder == "…" else r"\d[\d,.]*") + re.escape(part)
        pattern += r"\n"
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed.rstrip("\n").split("\n"))) is not None


class Session:
    """One bash and one Python in a temporary folder, as a reader has them in two terminals."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        for name in ("samples", "tests/data"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(ROOT / name)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LSR_")}
        paths = [str(ROOT), str(ROOT / "clients/python/src"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        environment["COLUMNS"] = "120"
        environment["PYTHONUNBUFFERED"] = "1"  # as on a terminal, where stdout and stderr keep their order
        self._environment = environment
        self._bash = self._start(["bash", "--norc", "-o", "pipefail"])
        self._python = self._start([sys.executable, "-c", _PYTHON])

    def run(self, step: Step) -> str:
        """Run a block and return what it printed. Raises TutorialFailed if it ends with an error."""
        code = step.code
        for port, free in self._ports.items():
            code = code.replace(port, free)
        failed, printed = self._in_python(code) if step.kind == "python" else self._in_bash(code)
        for port, free in self._ports.items():
            printed = printed.replace(free, port)
        if failed:
            raise TutorialFailed(f"line {step.line}: the block failed and printed:\n{printed}")
        return printed

    def close(self) -> None:
        """End both, and what runs in the background of bash: the process group of its own."""
        for process in (self._python, self._bash):
            os.killpg(process.pid, 15)
            process.communicate(timeout=120)

    def _in_bash(self, code: str) -> tuple[bool, str]:
        script, printed = self._folder / ".block.sh", self._folder / ".block.out"
        script.write_text(code)
        answer = self._ask(self._bash, f". ./{script.name} > {printed.name} 2>&1 < /dev/null; echo $?")
        return answer.strip() != "0", printed.read_text()

    def _in_python(self, code: str) -> tuple[bool, str]:
        failed, printed = json.loads(self._ask(self._python, json.dumps(code)))
        return failed, printed

    def _ask(self, process: subprocess.Popen[str], line: str) -> str:
        if process.stdin is None or process.stdout is None:
            raise TutorialFailed("the process has no pipes")
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline()

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self._folder,
            env=self._environment, start_new_session=True,
        )  # fmt: skip


def run(path: Path) -> Iterator[tuple[Step, str]]:
    """Run a tutorial and yield each block with what it printed. Raises TutorialFailed."""
    found = steps(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        try:
            for step in found:
                yield step, session.run(step)
        finally:
            session.close()


def check(path: Path) -> int:
    """Run a tutorial, compare every output, and return how many blocks ran. Raises TutorialFailed."""
    number = 0
    for step, printed in run(path):
        number += 1
        if step.expected is not None and not agrees(step.expected, printed):
            raise TutorialFailed(f"{path.name}, line {step.line}: expected\n{step.expected}\nprinted\n{printed}")
    return number


def write(path: Path) -> None:
    """Run a tutorial and put the outputs that differ into its file."""
    text, new, end = path.read_text(encoding="utf-8"), "", 0
    for step, printed in run(path):
        if step.expected is not None and not agrees(step.expected, printed):
            new += text[end : step.start] + printed.rstrip("\n") + "\n"
            end = step.stop
    path.write_text(new + text[end:], encoding="utf-8")


def _free_ports(count: int) -> list[str]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in listeners]
    for one in listeners:
        one.close()
    return ports


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run tutorials and compare what they print.")
    parser.add_argument("tutorials", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="put the outputs that differ into the files")
    options = parser.parse_args()
    for tutorial in options.tutorials:
        if options.write:
            write(tutorial)
        else:
            sys.stdout.write(f"{tutorial}: {check(tutorial)} blocks ran\n")
