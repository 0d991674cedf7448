"""The asynchronous client: the methods of `Client`, to be awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel

from lsr_client import bulk_writes, calls, models
from lsr_client.calls import Call
from lsr_client.client import failure, result_of, settings, still_waiting
from lsr_client.errors import Invalid, LsrError
from lsr_client.retries import Attempts, Retries

T = TypeVar("T")


class AsyncClient:
    """A connection to a service; for one event loop. Close it, or use it in an `async with` statement.

    Every method raises Problem for what the service refuses, and Unreachable.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        api_key: str | None = None,
        *,
        timeout: float = 70.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`url` is the service's, with its path prefix if it has one; `timeout` in seconds is that of one attempt."""
        self._http = httpx.AsyncClient(**settings(url, api_key, timeout), transport=transport)
        self._retries = retries or Retries()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def search(self, collection: str, query: str | Mapping[str, Any], **options: Any) -> models.SearchAnswer:
        """Search by a text or any query of the API; `options` are the other fields, such as k, filter and facets."""
        return await self.send(calls.search(collection, query, options))

    async def search_many(self, collection: str, searches: Sequence[Mapping[str, Any]]) -> list[models.SearchAnswer]:
        """Return the answers of several searches, each a whole request body, in their order."""
        return (await self.send(calls.search_many(collection, searches))).results

    async def pages(
        self, collection: str, query: str | Mapping[str, Any], **options: Any
    ) -> AsyncIterator[models.SearchAnswer]:
        """Yield the pages of a search, `k` hits each, of one moment of the collection."""
        answer = await self.search(collection, query, **options, cursor=True)
        while answer.hits:
            yield answer
            if answer.next_cursor is None:
                return
            answer = await self.search(collection, query, **options, cursor=answer.next_cursor)

    async def write(
        self, collection: str, documents: Iterable[Mapping[str, Any] | BaseModel], *, wait: float = 600.0
    ) -> models.WriteAnswer:
        """Write documents in one request; those that are refused are in the answer. Waits up to `wait` seconds for a
        write that becomes a job. Raises Invalid if all are refused."""
        return await self._settled(await self.send(calls.write(collection, documents)), models.WriteAnswer, wait)

    async def bulk(
        self,
        collection: str,
        documents: Iterable[Mapping[str, Any] | BaseModel],
        *,
        progress: Callable[[bulk_writes.BulkResult], None] | None = None,
    ) -> bulk_writes.BulkResult:
        """Write any number of documents, which are read as they are sent; `progress` is called after each batch.

        Raises BulkFailed with what was acknowledged.
        """
        result = bulk_writes.BulkResult()
        for batch in bulk_writes.batches(documents):
            try:
                result.add(batch, await self._write_batch(collection, batch))
            except LsrError as error:
                raise bulk_writes.BulkFailed(result, error) from error
            if progress is not None:
                progress(result)
        return result

    async def get(self, collection: str, id: str, *, vectors: bool = False) -> models.Document:
        """Return a document; raises NotFound."""
        return await self.send(calls.get(collection, id, vectors=vectors))

    async def get_many(self, collection: str, ids: Sequence[str], *, vectors: bool = False) -> models.FoundDocuments:
        """Return documents by id, up to 1,000."""
        return await self.send(calls.get_many(collection, ids, vectors=vectors))

    async def documents(
        self, collection: str, *, size: int = 500, vectors: bool = False, filter: Mapping[str, Any] | None = None
    ) -> AsyncIterator[models.Document]:
        """Yield all documents by ascending id, or those that match a filter; `size` per request."""
        after: str | None = None
        while True:
            page = await self.send(calls.page(collection, after, size, vectors=vectors, filter=filter))
            for document in page.documents:
                yield document
            if page.next_after is None:
                return
            after = page.next_after

    async def patch(
        self, collection: str, id: str, metadata: Mapping[str, Any], *, wait: float = 600.0
    ) -> models.PatchAnswer:
        """Set metadata of a document; a value of None removes the key."""
        return await self._settled(await self.send(calls.patch(collection, id, metadata)), models.PatchAnswer, wait)

    async def delete(
        self,
        collection: str,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        wait: float = 600.0,
    ) -> models.DeleteAnswer:
        """Delete documents by ids or by a filter; with `dry_run` only count them."""
        found = await self.send(calls.delete(collection, ids, filter, dry_run=dry_run))
        return await self._settled(found, models.DeleteAnswer, wait)

    async def collections(self) -> models.Collections:
        """Return all collections."""
        return await self.send(calls.collections())

    async def collection(self, name: str) -> models.Collection:
        """Return a collection, by name or alias; raises NotFound."""
        return await self.send(calls.collection(name))

    async def create(self, name: str, config: Mapping[str, Any]) -> models.Collection:
        """Create a collection, such as {"encoder": "lsr-mini", "schema": {"year": "int"}}; raises Conflict."""
        return await self.send(calls.create(name, config))

    async def change(self, name: str, changes: Mapping[str, Any]) -> models.Collection:
        """Change search defaults, or add fields to the schema."""
        return await self.send(calls.change(name, changes))

    async def drop(self, name: str) -> None:
        """Remove a collection and its documents."""
        await self.send(calls.drop(name))

    async def alias(self, name: str, target: str) -> models.Alias:
        """Let a name point to a collection."""
        return await self.send(calls.alias(name, target))

    async def suggest(self, collection: str, text: str) -> dict[str, Any]:
        """Return titles and words that continue a text."""
        return await self.send(calls.suggest(collection, text))

    async def send(self, call: Call[T]) -> T:
        """Send any call, with retries."""
        attempts = Attempts(self._retries, repeatable=call.repeatable)
        content, headers = call.content()
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._http.request(
                    call.method, call.path, content=content, headers=headers, params=dict(call.parameters)
                )
                if outcome.status_code < 400:
                    return call.read(outcome.content)
            except httpx.TransportError as error:
                outcome = error
            pause = attempts.pause_after(outcome)
            if pause is None:
                raise failure(outcome, self._http.base_url)
            await asyncio.sleep(pause)

    async def _write_batch(self, collection: str, batch: bulk_writes.Batch) -> models.WriteAnswer:
        try:
            found = await self.send(calls.write_lines(collection, batch.lines))
        except Invalid as problem:
            answer = bulk_writes.all_refused(batch, problem.errors)
            if answer is None:
                raise
            return answer
        return await self._settled(found, models.WriteAnswer, 600.0)

    async def _settled(self, found: T | models.Job, answer: type[T], wait: float) -> T:
        """Return the answer of a write, after its job where it became one."""
        deadline = time.monotonic() + wait
        pause = 0.1
        while isinstance(found, models.Job):
            if (settled := result_of(found)) is not None:
                return calls.answer_of(settled, answer)
            if time.monotonic() > deadline:
                raise still_waiting(found, wait)
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 1.5)
            found = await self.send(calls.job(found.job))
        return found
