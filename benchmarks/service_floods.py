"""The memory of a running service before, during and after what an attacker sends.

usage: service_floods.py [--megabytes 60] [--only NAME]

Starts `lsr serve` with a key for each case, so that cases do not share memory, sends at most `--megabytes` on one
connection (or two bodies of half of it), and reads the process's resident memory from /proc. Prints a JSON line per
case: bytes sent, the statuses that came back, seconds, and resident MB before, at most, and 2 s after.

    headers, trailers, pipelined   floods before the key is checked
    refused_lines                  two bodies of `{}` lines as jobs (write scope)
    unknown_fields                 a search with a million unknown fields (read scope)
    gzip_bomb                      a gzip body that becomes 1 GB
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

KEY = "a-key-for-the-benchmark"
START = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD = f"/v1/collections/c/documents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
CHUNKED = f"POST {UPLOAD}Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{{}}\n\r\n0\r\n"
Sent = tuple[int, list[int]]


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=60)
    parser.add_argument("--only", choices=CASES, default=None)
    options = parser.parse_args()
    for name in CASES if options.only is None else [options.only]:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(name, Path(folder), options.megabytes << 20)), flush=True)


def measure(name: str, folder: Path, size: int) -> dict[str, object]:
    """Return the line of one case."""
    keys = folder / "keys"
    keys.write_text(KEY + "\n", encoding="utf-8")
    (folder / "collections").mkdir()
    command = [str(Path(sys.executable).with_name("lsr")), "serve", str(folder / "collections"), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--api-key-file", str(keys)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        if process.stdout is None:
            raise SystemExit("the server has no stdout")
        port = int(process.stdout.readline().strip().rstrip("/").rsplit(":", 1)[1])
        request(port, "PUT", "/v1/collections/c", b'{"encoder": "bm25"}')
        before, highest, done = resident(process.pid), [0.0], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                highest[0] = max(highest[0], resident(process.pid))

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.perf_counter()
        try:
            sent, statuses = CASES[name](port, size)
        finally:
            seconds = time.perf_counter() - began
            time.sleep(2)
            done.set()
            watching.join()
        return {
            "case": name, "sent_mb": round(sent / 1e6, 1), "statuses": statuses, "seconds": round(seconds, 1),
            "before_mb": before, "highest_mb": highest[0], "after_mb": resident(process.pid),
        }  # fmt: skip
    finally:
        process.kill()
        process.wait()


def resident(pid: int) -> float:
    """Return a process's resident memory in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) * 1024 / 1e6, 1)


def request(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    """Send one request and return status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **(headers or {})}
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


def flood(start: str, repeated: str) -> Callable[[int, int], Sent]:
    """Return a case that sends `start` and then `repeated` without end on one connection."""

    def run(port: int, size: int) -> Sent:
        piece = repeated.encode() * (65_536 // len(repeated))
        sent, answer = 0, b""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            try:
                connection.sendall(start.encode())
                while sent < size:
                    connection.sendall(piece)
                    sent += len(piece)
                answer = connection.recv(65_536)
            except OSError:
                try:
                    answer = connection.recv(65_536)
                except OSError:
                    answer = b""
        return sent, [int(answer[9:12])] if answer.startswith(b"HTTP") else []

    return run


def refused_lines(port: int, size: int) -> Sent:
    """Send two bodies of `{}` lines as jobs, and wait for these."""
    body = b"{}\n" * min(size // 6, 10_000_000)
    headers = {"Content-Type": "application/x-ndjson", "Prefer": "respond-async"}
    statuses = []
    for _ in range(2):
        status, job = request(port, "POST", "/v1/collections/c/documents", body, headers)
        statuses.append(status)
        while status == 202 and request(port, "GET", f"/v1/jobs/{job['job']}")[1].get("status") == "waiting":
            time.sleep(0.2)
    return 2 * len(body), statuses


def unknown_fields(port: int, size: int) -> Sent:
    """Send a search with very many unknown fields."""
    fields = b"".join(b',"a%07d":0' % number for number in range(min(size // 26, 1_000_000)))
    body = b'{"query":{"text":"a"}%b}' % fields
    return len(body), [request(port, "POST", "/v1/collections/c/search", body)[0]]


def gzip_bomb(port: int, _: int) -> Sent:
    """Send a gzip body that becomes 1 GB."""
    body = gzip.compress(b" " * (1 << 30), 1)
    return len(body), [request(port, "POST", "/v1/collections/c/search", body, {"Content-Encoding": "gzip"})[0]]


CASES: dict[str, Callable[[int, int], Sent]] = {
    "headers": flood(START, "A: b\r\n"),
    "trailers": flood(CHUNKED, "A: b\r\n"),
    "pipelined": flood("", START + "\r\n"),
    "refused_lines": refused_lines,
    "unknown_fields": unknown_fields,
    "gzip_bomb": gzip_bomb,
}


if __name__ == "__main__":
    main()
