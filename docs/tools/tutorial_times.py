"""Time the tutorials as a new user takes them: `python docs/tools/tutorial_times.py [TUTORIAL …]` prints JSON lines.

For each tutorial the repository's last commit is cloned into a temporary folder. The blocks that install run there, in
the clone itself; then the others, as `run_tutorial.py` runs and checks them. So the environment and the kernel cache
are new each time; what pip has downloaded before is not. Needs git, a package index and 3 GB of disk space.

    {"tutorial": "service", "install_s": 95.1, "install_cpu_s": 80.0, "blocks": 21, "run_s": 130.2, …}

`…_cpu_s` are seconds of all processor cores, which other jobs on the machine change less than the time that passes.
`slowest` are the three slowest blocks: the line in the file, and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import run_tutorial

TUTORIALS = ("service", "research", "rag")
_RUN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, "docs/tools")
import run_tutorial
times, before = [], time.monotonic()
for step, printed in run_tutorial.run(Path(sys.argv[1])):
    if step.expected is not None and not run_tutorial.agrees(step.expected, printed):
        raise SystemExit(f"line {step.line}: expected\\n{step.expected}\\nprinted\\n{printed}")
    times.append([step.line, round(time.monotonic() - before, 1)])
    before = time.monotonic()
print(json.dumps(times))
"""


def timed(name: str) -> dict[str, object]:
    """Take one tutorial in a new clone; raises subprocess.CalledProcessError for a step that fails."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "lsr"
        command = ["git", "clone", "--quiet", str(run_tutorial.ROOT), str(clone)]
        subprocess.run(command, check=True)
        page = clone / "docs" / "tutorials" / f"{name}.md"
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LSR_", "PYTHON")) and key not in ("VIRTUAL_ENV", "NUMBA_CACHE_DIR")
        }
        started, before = time.monotonic(), _cpu_seconds()
        for block in run_tutorial.not_run(page.read_text(encoding="utf-8")):
            command = ["bash", "-ec", block]
            subprocess.run(command, cwd=clone, env=environment, check=True, stdout=sys.stderr)
        installed, between = time.monotonic(), _cpu_seconds()
        environment["NUMBA_CACHE_DIR"] = str(clone / ".numba_cache")
        command = [str(clone / ".venv/bin/python"), "-c", _RUN, str(page)]
        done = subprocess.run(command, cwd=clone, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        times = json.loads(done.stdout)
    return {
        "tutorial": name,
        "install_s": round(installed - started, 1),
        "install_cpu_s": round(between - before, 1),
        "blocks": len(times),
        "run_s": round(sum(seconds for _, seconds in times), 1),
        "run_cpu_s": round(_cpu_seconds() - between, 1),
        "slowest": sorted(times, key=lambda one: -one[1])[:3],
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time the tutorials in new clones of this repository.")
    parser.add_argument("tutorials", nargs="*", default=list(TUTORIALS), metavar="TUTORIAL", help="default: all")
    for tutorial in parser.parse_args().tutorials:
        sys.stdout.write(f"{json.dumps(timed(tutorial))}\n")
        sys.stdout.flush()
