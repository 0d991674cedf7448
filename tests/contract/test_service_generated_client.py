"""A client generated from the OpenAPI document is imported, and writes, searches and reads as its types say.

openapi-python-client cannot be installed next to lsr (it needs an older typer). The test uses the command of that name
on the PATH and the Python of its environment, and is skipped without it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from lsr.store import CollectionStore
from service.server import running
from tests.contract.api_document import api_document

GENERATOR: Final = shutil.which("openapi-python-client")
pytestmark = pytest.mark.skipif(GENERATOR is None, reason="openapi-python-client is not installed")

# What a user of the generated package writes. It runs in the generator's environment, which has what it imports.
SCRIPT: Final = """
import json, sys
from client import models
from client.client import Client
from client.api.collections import create_collection
from client.api.documents import write_documents
from client.api.search import search_collection

api = Client(base_url=sys.argv[1])
body = models.CollectionRequest.from_dict({"encoder": "bm25", "schema": {"year": "int"}})
created = create_collection.sync("dishes", client=api, body=body)
documents = [models.Document(id="d1", text="a lobster roll with butter"),
             models.Document(id="d2", text="clam chowder, no lobster")]
written = write_documents.sync("dishes", client=api, body=models.DocumentBatch(documents=documents))
search = lambda name, request: search_collection.sync(name, client=api, body=request)
asked = models.SearchRequest(query=models.TextQuery(text="lobster roll"), k=5, explain=models.Explain())
found = search("dishes", asked)
weights = models.QuerySparseByToken.from_dict({"chowder": 1.0})
by_vector = search("dishes", models.SearchRequest(query=models.SparseQuery(sparse=weights)))
plain = search("dishes", models.SearchRequest(query="chowder"))
problem = search("nothing", asked)
print(json.dumps({
    "created": created.name, "written": [type(written).__name__, written.accepted],
    "found": [hit.id for hit in found.hits], "matched": sorted(term.token for term in found.hits[0].matched),
    "by_vector": [hit.id for hit in by_vector.hits], "plain": [hit.id for hit in plain.hits],
    "problem": [type(problem).__name__, problem.status],
}))
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the generated package `client`."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(json.dumps(api_document(folder / "empty")), encoding="utf-8")
    (folder / "settings.yml").write_text("post_hooks: []\n", encoding="utf-8")
    command = [str(GENERATOR), "generate", "--path", "openapi.json", "--output-path", "client", "--meta", "none"]
    done = subprocess.run(
        [*command, "--config", "settings.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removal" not in done.stdout, done.stdout  # the generator leaves out what it does not understand
    return folder


def test_a_generated_client_writes_and_searches(generated: Path, tmp_path: Path) -> None:
    python = Path(str(GENERATOR)).with_name("python")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with CollectionStore(tmp_path) as store, running(store) as url:
        done = subprocess.run(
            [str(python), "-c", SCRIPT, url],
            cwd=generated,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "created": "dishes",
        "written": ["WriteModel", 2],
        "found": ["d1", "d2"],
        "matched": ["lobster", "roll"],
        "by_vector": ["d2"],
        "plain": ["d2"],
        "problem": ["Problem", 404],
    }
