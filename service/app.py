"""The application: collections over HTTP, put together.

A request passes RequestContext (id, body limit, metrics), then its StrictRoute (key, readiness, media type, strict
JSON), then a few lines in `routes/` that hand the work to a pool of threads. Every error leaves as a problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread

from fastapi import FastAPI

from lsr import __version__
from lsr.store import CollectionStore
from service.http.context import RequestContext
from service.http.openapi import complete_openapi
from service.problems import install_problem_handlers
from service.routes import aliases, collections, documents, operations, page, search, snapshots
from service.runtime.state import Service
from service.settings import ServiceSettings

_DESCRIPTION = """Learned sparse retrieval. Errors are `application/problem+json` (RFC 9457). An API key, where one is
configured, is sent as `Authorization: Bearer …` or `X-API-Key: …`."""


def create_app(store: CollectionStore, settings: ServiceSettings | None = None) -> FastAPI:
    """Return the application that serves the collections of `store`.

    It starts to open and warm them when the server starts it; `/readyz` and everything under `/v1` answer 503 until
    that is done. The store stays the caller's to close.
    """
    settings = settings or ServiceSettings()
    service = Service.start(store, settings)

    def warm_then_watch() -> None:
        service.readiness.warm(store)
        service.scrubber.start()
        service.alias_watcher.start()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        Thread(target=warm_then_watch, name="lsr-warm", daemon=True).start()
        try:
            yield
        finally:
            service.readiness.stop()
            await asyncio.to_thread(service.close)

    app = FastAPI(
        title="lsr",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # Swagger's page loads its script from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    modules = (search, documents, snapshots, collections, aliases, operations, page)
    routers = [module.router for module in modules]
    for router in routers:
        app.include_router(router)
    routes = [route for router in routers for route in router.routes]
    install_problem_handlers(app, routes)
    app.add_middleware(RequestContext, settings=settings, metrics=service.metrics)
    complete_openapi(app, routes, keys=bool(settings.api_keys))
    return app
