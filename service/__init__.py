"""Collections over HTTP: `create_app` returns the ASGI application, `service.server.serve` runs it."""

from service.app import create_app
from service.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
