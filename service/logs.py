"""The service's log on stderr: a line per event, as text or as a JSON object.

`lsr.service` has starts, stops and faults, `lsr.service.slow` slow searches, `lsr.service.access` every request if that
is asked for. Text of documents and queries is never logged. Whatever comes from a client is escaped: it cannot forge a
line.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from lsr.errors import SettingsError

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_access = logging.getLogger("lsr.service.access")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the record's `fields`, and an exception's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        shown: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            shown["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(shown, default=str).decode()


class TextFormatter(logging.Formatter):
    """A line per event; only a traceback has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without a traceback."""
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


def log_to_stderr(form: str = "text") -> None:
    """Write the service's log to stderr; `form` is text or json. Raises SettingsError for another."""
    if form not in ("text", "json"):
        raise SettingsError(f"log_format: {form!r} is not text or json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its INFO lines repeat ours


def log_access(
    *,
    method: str,
    target: bytes,
    status: int,
    seconds: float,
    received: int = 0,
    request_id: str = "",
    trace_id: str = "",
    client: str = "",
    route: str = "",
    answered_by: Literal["application", "protocol"] = "application",
) -> None:
    """Log one request; `target` is its path as sent, percent-encoded, without the query, which may hold a text."""
    path = target.partition(b"?")[0][:2_000].decode("ascii", "backslashreplace")
    milliseconds = round(seconds * 1000.0, 3)
    fields = {
        "method": method,
        "path": path,
        "route": route,
        "status": status,
        "duration_ms": milliseconds,
        "bytes_received": received,
        "client": client,
        "request_id": request_id,
        "trace_id": trace_id,
        "answered_by": answered_by,
    }
    _access.info(
        "%s %s %d %.1f ms request_id=%s", method, path, status, milliseconds, request_id, extra={"fields": fields}
    )
