"""The OpenAPI document of a service without collections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lsr.store import CollectionStore
from service import ServiceSettings, create_app
from service.auth import ApiKey


def api_document(folder: Path, *, keys: tuple[ApiKey, ...] = ()) -> dict[str, Any]:
    """Return the document; `folder` is created."""
    folder.mkdir()
    with CollectionStore(folder) as store:
        app = create_app(store, ServiceSettings(api_keys=keys))
        try:
            return app.openapi()
        finally:
            app.state.service.close()
