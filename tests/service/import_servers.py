"""Servers that speak what Qdrant, OpenSearch and Elasticsearch document of their HTTP APIs, as an import needs it.

They keep what was sent to them and answer from it; faults can be injected. `make exchange` runs the real systems.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, Any]


class Server:
    """One server. `requests` are all that came, (method, path, headers); `fault` may answer in its place."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.fault: Callable[[str, str, int], tuple[int, dict[str, str]] | None] = lambda method, path, number: None
        self.url = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        raise NotImplementedError

    @contextmanager
    def running(self) -> Iterator[Server]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append((self.command, parts.path, headers))
                fault = server.fault(self.command, parts.path, len(server.requests))
                extra: dict[str, str] = {}
                if fault is not None and fault[0] == 0:
                    self.close_connection = True
                    return
                if fault is not None:
                    status, extra = fault
                    value: Any = {"error": "injected"}
                else:
                    status, value = server.answer(self.command, unquote(parts.path), parse_qs(parts.query), body)
                content = json.dumps(value).encode()
                self.send_response(status)
                for name, text in {"content-length": str(len(content)), **extra}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *args: Any) -> None:
                pass

        listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{listening.server_address[1]}"
        try:
            yield self
        finally:
            listening.shutdown()
            listening.server_close()
            thread.join()


class Qdrant(Server):
    """PUT and GET /collections/{name}, PUT points, POST points/count and points/scroll."""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        _, _, name, *rest = path.split("/")
        value = json.loads(body) if body else {}
        if method == "PUT" and not rest:
            self.collections[name] = {"params": value, "points": {}}
            return 200, {"result": True, "status": "ok"}
        if name not in self.collections:
            return 404, {"status": {"error": f"Not found: Collection `{name}` doesn't exist!"}}
        kept = self.collections[name]
        points: dict[Any, Any] = kept["points"]
        if method == "GET":
            return 200, {"result": {"config": {"params": kept["params"]}}, "status": "ok"}
        if method == "PUT":
            points.update({point["id"]: point for point in value["points"]})
            return 200, {"result": {"status": "completed"}, "status": "ok"}
        if rest == ["points", "count"]:
            return 200, {"result": {"count": len(points)}, "status": "ok"}
        assert rest == ["points", "scroll"]
        # Numbers before UUIDs, each ascending, as Qdrant orders them.
        order = sorted(points, key=lambda one: (isinstance(one, str), one))
        start = order.index(value["offset"]) if "offset" in value else 0
        found = [self._point(points[one], value["with_vector"]) for one in order[start : start + value["limit"]]]
        following = order[start + value["limit"] : start + value["limit"] + 1]
        return 200, {"result": {"points": found, "next_page_offset": following[0] if following else None}}

    @staticmethod
    def _point(point: dict[str, Any], vectors: Any) -> dict[str, Any]:
        kept = point.get("vector", {})
        if isinstance(vectors, list):
            kept = {name: vector for name, vector in kept.items() if name in vectors}
        return {"id": point["id"], "payload": point.get("payload"), **({"vector": kept} if vectors else {})}


class SearchEngine(Server):
    """PUT index, _mapping, _count, _bulk, a point in time, _search with search_after."""

    def __init__(self, distribution: str, version: str) -> None:
        super().__init__()
        self.distribution = distribution
        self.version = version
        self.pits: dict[str, list[str]] = {}
        self.searches: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if path == "/":
            named = {"distribution": "opensearch"} if self.distribution == "opensearch" else {}
            return 200, {"version": {"number": self.version, **named}}
        if path in ("/_search/point_in_time", "/_pit"):
            value = json.loads(body)
            for pit in value.get("pit_id", [value.get("id")]):
                self.pits.pop(pit)
            return 200, {}
        if path == "/_search":
            return self._search(json.loads(body))
        _, name, *rest = path.split("/")
        if method == "PUT":
            self.collections[name] = {"mapping": json.loads(body)["mappings"], "documents": {}}
            return 200, {"acknowledged": True}
        if name not in self.collections:
            return 404, {"error": {"root_cause": [{"reason": f"no such index [{name}]"}]}, "status": 404}
        kept = self.collections[name]
        if rest in (["_search", "point_in_time"], ["_pit"]):
            assert "keep_alive" in query
            pit = f"{name}-{len(self.pits)}"
            self.pits[pit] = sorted(kept["documents"])
            return 200, {"pit_id" if self.distribution == "opensearch" else "id": pit}
        if rest == ["_bulk"]:
            return self._bulk(kept, body)
        if rest == ["_mapping"]:
            return 200, {name: {"mappings": kept["mapping"]}}
        return 200, {"count": len(kept["documents"]), "_shards": {"failed": 0}}

    def _bulk(self, kept: dict[str, Any], body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            name = action["index"]["_id"]
            dotted = [
                token for vector in document.values() if isinstance(vector, dict) for token in vector if "." in token
            ]
            if self.distribution == "elasticsearch" and dotted:
                error = {"type": "x", "reason": "failed to parse", "caused_by": {"reason": "do not support dots"}}
                items.append({"index": {"_id": name, "status": 400, "error": error}})
            else:
                kept["documents"][name] = document
                items.append({"index": {"_id": name, "status": 201}})
        return 200, {"errors": any("error" in item["index"] for item in items), "items": items}

    def _search(self, body: dict[str, Any]) -> Answer:
        self.searches.append(body)
        pit = body["pit"]["id"]
        if pit not in self.pits:
            return 404, {"error": {"root_cause": [{"reason": "No search context found for id [1]"}]}}
        ids = self.pits[pit]
        (key,) = body["sort"][0]
        order: list[Any] = list(range(len(ids))) if key == "_shard_doc" else ids
        start = order.index(body["search_after"][0]) + 1 if "search_after" in body else 0
        documents = self.collections[pit.rsplit("-", 1)[0]]["documents"]
        chosen = range(start, min(start + body["size"], len(ids)))
        hits = [{"_id": ids[at], "_source": documents[ids[at]], "sort": [order[at]]} for at in chosen]
        return 200, {"pit_id": pit, "_shards": {"failed": 0}, "timed_out": False, "hits": {"hits": hits}}
