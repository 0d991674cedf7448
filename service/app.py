"""The application: collections over HTTP.

A request passes through RequestContext (id, body limit, metrics), then its StrictRoute (key, readiness, media type,
strict JSON), then a few lines in `routes/` that give the work to a thread pool. Every error is returned as a problem.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from lsr import __version__
from lsr.store import CollectionStore
from service.http.context import RequestContext
from service.http.named_origins import EXPOSED
from service.http.openapi import complete_openapi
from service.problems import install_problem_handlers
from service.routes import aliases, collections, documents, exploring, operations, page, search, snapshots
from service.runtime.state import Service
from service.settings import ServiceSettings

_logger = logging.getLogger("lsr.service")
_DESCRIPTION = """Learned sparse retrieval. Errors are `application/problem+json` (RFC 9457). If the service needs
an API key, send it as `Authorization: Bearer …` or `X-API-Key: …`."""


def create_app(store: CollectionStore, settings: ServiceSettings | None = None) -> FastAPI:
    """Return the application that serves the collections of `store`.

    It opens and warms them when the server starts; until that is done, `/readyz` and everything under `/v1` return 503.
    The caller must close the store.
    """
    settings = settings or ServiceSettings()
    service = Service.start(store, settings)

    def warm_then_watch() -> None:
        service.readiness.warm(store)
        service.scrubber.start()
        service.watcher.start()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        Thread(target=warm_then_watch, name="lsr-warm", daemon=True).start()
        try:
            yield
        finally:
            service.readiness.stop()
            _logger.info("stopping: the requests in flight are answered, the collections are closed next")
            await asyncio.to_thread(service.close)
            _logger.info("stopped: no write is running")

    app = FastAPI(
        title="lsr",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # Swagger's page loads its script from another host
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    modules = (search, documents, exploring, snapshots, collections, aliases, operations, page)
    routers = [module.router for module in modules]
    for router in routers:
        app.include_router(router)
    routes = [route for router in routers for route in router.routes]
    install_problem_handlers(app, routes)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("Authorization", "X-API-Key", "api-key", "Content-Type", "Content-Encoding", "Prefer"),
            expose_headers=EXPOSED,
        )
    app.add_middleware(RequestContext, settings=settings, metrics=service.metrics)
    complete_openapi(app, routes, keys=bool(settings.api_keys))
    return app
