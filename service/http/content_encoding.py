"""Request bodies with `Content-Encoding`: gzip, deflate and zstd, expanded under the body limit.

The limit counts what a body becomes, not what is sent: a kilobyte of gzip can be a gigabyte. A body is expanded when it
is complete, in a thread, a piece at a time, and no further than the limit. Another encoding is a 415, and one that is
damaged or cut off a 400.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa

from service.problems import ProblemError

ACCEPTED: Final = ("gzip", "deflate", "zstd")
_PIECE: Final = 1 << 20
_SLICE: Final = 1 << 16
_GZIP: Final = zlib.MAX_WBITS | 16
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class _Damaged(Exception):
    """A body that is not what its encoding says."""


def encoding_of(header: str | None) -> str | None:
    """Return the body's encoding, None if it is sent as it is; raises a 415 problem for one that is not accepted."""
    names = [name.strip().lower() for name in (header or "").split(",")]
    names = [name.removeprefix("x-") for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1 or names[0] not in ACCEPTED:
        raise ProblemError(
            415,
            "unsupported-encoding",
            "Unsupported content encoding",
            f"Content-Encoding must be one of {', '.join(ACCEPTED)}, not {', '.join(names)!r:.80}",
            headers={"Accept-Encoding": ", ".join(ACCEPTED)},
        )
    return names[0]


def expand(body: bytes, encoding: str, limit: int, too_large: Callable[[], ProblemError]) -> bytes:
    """Return the expanded body. Raises `too_large()` beyond `limit` bytes, and a 400 problem if it is damaged."""
    found = bytearray()
    try:
        for piece in _EXPANDERS[encoding](body):
            found += piece
            if len(found) > limit:
                raise too_large()
    except (_Damaged, zlib.error, OSError):
        raise ProblemError(
            400, "bad-encoding", "Bad content encoding", f"the body is not complete, valid {encoding}"
        ) from None
    return bytes(found)


def _gzip(body: bytes) -> Iterator[bytes]:
    return _inflated(body, _GZIP, many=True)


def _deflate(body: bytes) -> Iterator[bytes]:
    # RFC 9110 asks for zlib's format; some clients send the bare stream.
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _inflated(body, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS, many=False)


def _inflated(body: bytes, bits: int, *, many: bool) -> Iterator[bytes]:
    """Yield pieces of at most _PIECE bytes; `many` allows several streams, as in a gzip file of several members."""
    stream = None
    for start in range(0, len(body), _SLICE):  # slices: zlib copies what it leaves
        data = body[start : start + _SLICE]
        while data:
            if stream is None or (stream.eof and many):
                stream = zlib.decompressobj(bits)
            elif stream.eof:
                raise _Damaged
            full = True
            while full:
                piece = stream.decompress(data, _PIECE)
                data = stream.unconsumed_tail
                full = len(piece) == _PIECE
                yield piece
            if stream.eof:
                data = stream.unused_data
    if stream is not None and not stream.eof:
        raise _Damaged


def _zstd(body: bytes) -> Iterator[bytes]:
    if not body:
        return
    if not body.startswith(_ZSTD_MAGIC):
        raise _Damaged
    with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
        while piece := stream.read(_PIECE):
            yield piece


_EXPANDERS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {"gzip": _gzip, "deflate": _deflate, "zstd": _zstd}
