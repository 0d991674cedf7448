"""Client of the lsr search service. See `Client` and `AsyncClient`."""

from lsr_client.async_client import AsyncClient
from lsr_client.bulk_writes import BulkFailed, BulkResult
from lsr_client.client import Client
from lsr_client.errors import (
    Conflict,
    Gone,
    Invalid,
    LsrError,
    NotFound,
    Overloaded,
    Problem,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from lsr_client.models import Document, Hit, SearchAnswer, WriteAnswer
from lsr_client.retries import Retries

__all__ = [
    "AsyncClient",
    "BulkFailed",
    "BulkResult",
    "Client",
    "Conflict",
    "Document",
    "Gone",
    "Hit",
    "Invalid",
    "LsrError",
    "NotFound",
    "Overloaded",
    "Problem",
    "Retries",
    "SearchAnswer",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "WriteAnswer",
]
