"""The web page at `/`: plain HTML, CSS and JavaScript from this package, read once and served from memory.

Its Content-Security-Policy allows only this host: no other host, no inline script, no inline style.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response
from starlette._utils import get_route_path

router = APIRouter(include_in_schema=False)

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_START: Final = "index.html"


class _Asset(NamedTuple):
    content: bytes
    media_type: str
    tag: str


def _load() -> dict[str, _Asset]:
    """Return every file of the page by its path: `/` is index.html, the others are under `/static/`."""
    assets = {}
    for file in sorted((files("service") / "static").iterdir(), key=lambda one: one.name):
        media_type = _MEDIA_TYPES.get(PurePath(file.name).suffix)
        if media_type is None:
            continue
        content = file.read_bytes()
        path = "/" if file.name == _START else f"/static/{file.name}"
        assets[path] = _Asset(content, media_type, f'"{sha256(content).hexdigest()[:32]}"')
    return assets


_ASSETS: Final = _load()


@cache
def _asset(path: str, root_path: str) -> _Asset:
    """Return a file of the page; the links of index.html begin with `root_path`, the scripts have relative ones."""
    asset = _ASSETS[path]
    if path != "/" or not root_path:
        return asset
    content = asset.content.replace(b'="/', b'="%b/' % root_path.encode())
    return asset._replace(content=content, tag=f'"{sha256(content).hexdigest()[:32]}"')


async def serve_asset(request: Request) -> Response:
    """Return one file of the page, or 304 if the browser has it."""
    asset = _asset(get_route_path(request.scope), request.app.state.service.settings.root_path)
    headers = {"ETag": asset.tag, "Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


for _path in _ASSETS:
    router.add_route(_path, serve_asset, methods=["GET", "HEAD"])
