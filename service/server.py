"""The server process: one uvicorn worker with the application, on an address that is safe for its keys.

There is only one worker, because a collection has one writer; the threads of one process do the work. A service without
an API key binds to a loopback address only, and answers only requests addressed to localhost, so that neither the
network nor a page in the user's browser can reach it.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from lsr.errors import Interrupted, SettingsError
from lsr.store import CollectionStore
from lsr.upkeep.free_memory import return_free_memory
from service.app import create_app
from service.auth import load_api_keys
from service.http.admission import Admission
from service.http.header_limits import HeaderLimits
from service.http.named_origins import NamedOrigins
from service.http.protocol import ConnectionLimits, limited_protocol
from service.logs import log_access
from service.runtime.pandas_import import do_without_pandas
from service.runtime.state import Service
from service.settings import ServiceSettings

_logger = logging.getLogger("lsr.service")
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8080
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_BACKLOG: Final = 2048
_ACCEPTED_AT_ONCE: Final = 16
# Thresholds of the garbage collector's three generations. A full collection stops all searches for 20 to 90 ms while
# documents wait to be sealed, and frees almost nothing. With Python's own thresholds (700, 10, 10) there was one every
# few seconds of writing.
_GARBAGE_THRESHOLDS: Final = (5_000, 20, 50)
_SHORT_TURN_SECONDS: Final = 0.0005
_LONG_TURN_SECONDS: Final = 0.005


class ServerAddressError(SettingsError):
    """An address that is not available, or that would be open to the network without a key."""


def serve(
    collections: Path | Callable[[], CollectionStore],
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    api_key_file: Path | None = None,
    insecure: bool = False,
    settings: ServiceSettings | None = None,
    on_listening: Callable[[str], None] | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a collection or a folder of collections, or the store that a function opens, until SIGINT or SIGTERM.

    `port` 0: any free port. `on_listening` and `on_ready` are called with the base URL, the second one when the service
    is ready to search. After the signal no new connection is accepted, requests in flight are finished, and the
    collections are closed. After SIGINT it then raises KeyboardInterrupt, so that Ctrl-C works as in every command.

    Raises ServerAddressError, KeyFileError, and what opening the store raises.
    """
    settings = secure(settings or ServiceSettings(), host, api_key_file, insecure=insecure)
    do_without_pandas()

    def ready(url: str) -> None:
        # The current objects stay alive: a full garbage collection over all of them would stop every search for 0.1 s.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
        return_free_memory()  # of reading models and compiled kernels
        if on_ready is not None:
            on_ready(url)

    with _listen(host, port) as listener, _opened(collections) as store:
        server = _server(store, settings, listener, ready, _take_long_turns)
        if on_listening is not None:
            on_listening(_url(listener))
        _take_long_turns(False)
        server.run(sockets=_accepting(listener))
    _logger.info("the collections are closed")
    if server.interrupted:
        raise KeyboardInterrupt
    if server.service.readiness.failure is not None:
        raise server.service.readiness.failure


def _opened(collections: Path | Callable[[], CollectionStore]) -> CollectionStore:
    return CollectionStore(collections) if isinstance(collections, Path) else collections()


@contextmanager
def running(
    store: CollectionStore, settings: ServiceSettings | None = None, *, warm_seconds: float = 300
) -> Iterator[str]:
    """Serve `store` on a free loopback port in a thread while the block runs; yields the base URL when ready."""
    with _listen(DEFAULT_HOST, 0) as listener:
        server = _server(store, settings or ServiceSettings(), listener)
        thread = threading.Thread(target=server.run, kwargs={"sockets": _accepting(listener)}, name="lsr-server")
        thread.start()
        try:
            if not server.service.readiness.wait(warm_seconds):
                failure = server.service.readiness.failure
                raise failure or Interrupted(f"the service was not ready within {warm_seconds:g} s")
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


def secure(settings: ServiceSettings, host: str, api_key_file: Path | None, *, insecure: bool) -> ServiceSettings:
    """Return `settings` with the keys of the file; without a key, with the host check.

    Raises ServerAddressError for an address that other machines can reach if there is no key, unless `insecure`.
    """
    if api_key_file is not None:
        settings = replace(settings, api_keys=load_api_keys(api_key_file))
    if settings.api_keys:
        return settings
    if _is_loopback(host):
        return replace(settings, allowed_hosts=_LOCAL_NAMES | {host.lower()})
    if not insecure:
        raise ServerAddressError(
            f"other machines can reach {host}, and there is no API key: give --api-key-file FILE, "
            f"or --insecure to allow access without a key, or bind to {DEFAULT_HOST}"
        )
    return settings


class _GracefulServer(uvicorn.Server):
    """uvicorn's server, except that a signal only stops it. uvicorn would raise the signal again, which would kill the
    process before the collections are closed."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self.interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown; a second Ctrl-C stops at once."""
        _logger.info(
            "%s: no new connections; %d open, %d requests in flight",
            signal.Signals(sig).name,
            len(self.server_state.connections),
            len(self.server_state.tasks),
        )
        self.interrupted = self.interrupted or sig == signal.SIGINT
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM while the main thread serves."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def _server(
    store: CollectionStore,
    settings: ServiceSettings,
    listener: socket.socket,
    on_ready: Callable[[str], None] | None = None,
    on_pressure: Callable[[bool], None] | None = None,
) -> _GracefulServer:
    app = create_app(store, settings)
    service: Service = app.state.service
    origins = NamedOrigins(settings.cors_origins)
    admission = Admission(
        service.metrics,
        searches=settings.search_threads + settings.search_queue,
        others=settings.write_queue * 2,
        on_pressure=on_pressure,
        root_path=settings.root_path,
        origins=origins,
    )

    def log_refusal(status: int, method: str, target: bytes) -> None:
        if settings.access_log:
            log_access(method=method, target=target, status=status, seconds=0.0, answered_by="protocol")

    config = uvicorn.Config(
        app,
        workers=1,
        loop="uvloop",
        http=limited_protocol(
            _connection_limits(settings), admission, origins, service.metrics.count_refusal, log_refusal
        ),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.keep_alive),
        timeout_graceful_shutdown=int(settings.shutdown_timeout),
    )
    server = _GracefulServer(config, service)

    def settled() -> None:
        if service.readiness.failure is not None:
            server.should_exit = True
        elif on_ready is not None:
            on_ready(_url(listener))

    service.readiness.on_settled(settled)
    return server


def _connection_limits(settings: ServiceSettings) -> ConnectionLimits:
    headers = HeaderLimits(settings.max_headers, settings.max_header_bytes)
    return ConnectionLimits(settings.header_timeout, settings.body_timeout, headers)


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """Open the listening socket before any slow work, so that a port in use is reported at once."""
    if not 0 <= port <= 65_535:
        raise ServerAddressError(f"port {port} is not in 0 … 65535")
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Without the protocol, asyncio would not set TCP_NODELAY on the connections: 40 ms per answer.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ServerAddressError(f"cannot listen on {host}, port {port}: {error}") from None
    try:
        yield listener
    finally:
        listener.close()


def _accepting(listener: socket.socket) -> list[socket.socket]:
    """Return several copies of the socket: uvloop accepts one connection per socket between two turns of searches.

    At several times the maximum load there are about a hundred such turns per second. Clients then open many new
    connections, and a health check on a new connection must not wait behind hundreds of them.
    """
    return [listener, *(listener.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))]


def _take_long_turns(long: bool) -> None:
    """Set how long a thread may compute while another one waits for the interpreter's lock.

    A search runs in several threads and needs the lock in each, so turns are short: a search waits only briefly while a
    write is parsed. Under overload turns are long, because then the cost of switching matters more.
    """
    sys.setswitchinterval(_LONG_TURN_SECONDS if long else _SHORT_TURN_SECONDS)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
