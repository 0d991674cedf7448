"""text-embeddings-inference's wire format, as `tei-client` writes and reads it, against a service (see serving.py).

No client on PyPI calls `/embed_sparse`. So a hook of its HTTP client leads there what tei-client sends to
`/embed`.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tei_client", reason="tei-client is not installed")

from tei_client.clients.http_client import HttpClient

pytest_plugins = ["serving"]


@pytest.fixture
def tei(url: str) -> HttpClient:
    def to_sparse(request: Any) -> None:
        if request.url.path == "/embed":
            request.url = request.url.copy_with(path="/embed_sparse")

    return HttpClient(url, event_hooks={"request": [to_sparse]})


def test_a_client_of_tei_sees_a_healthy_service_and_its_model(tei: HttpClient) -> None:
    assert tei.health()
    info = tei.info()
    assert (info.server_model_id, info.server_model_type.value) == ("bm25", "embedding")
    assert info.max_client_batch_size == 256


def test_what_a_client_of_tei_sends_is_encoded(tei: HttpClient) -> None:
    rows = tei.embed(["a lobster roll", "soup"], normalize=False, truncate=True, prompt_name="query")
    assert [len(row) for row in rows] == [2, 1]
    assert all(set(entry) == {"index", "value"} and entry["value"] > 0 for row in rows for entry in row)
    refused = tei.embed("lobster", normalize=True)
    assert refused["error_type"] == "Validation"
    assert "normalize" in refused["error"]
