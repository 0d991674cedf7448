"""mteb: the service as a search model, so that `mteb.evaluate` runs its retrieval and reranking tasks on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mteb.models import ModelMeta

from lsr_client import runs
from lsr_client.client import Client
from lsr_client.errors import NotFound
from lsr_client.stores import write_all

_WRITTEN = 10_000  # documents at a time
_NAME = 63  # characters of a collection's name


class LsrSearchModel:
    """Indexes a task's corpus into a collection of its own, and searches that.

    config    of the collections, such as {"encoder": "lsr-mini"}
    prefix    their names are PREFIX-TASK-SUBSET-SPLIT; one that exists is replaced, and the last one stays
    name      the model's name in mteb's results, ORGANISATION/MODEL
    revision  the model's revision there
    options   further fields of a search, such as `using="bm25"`; a search is exact unless `params` say otherwise
    """

    def __init__(
        self,
        client: Client,
        config: Mapping[str, Any],
        *,
        prefix: str = "mteb",
        name: str = "lsr/collection",
        revision: str = "1",
        **options: Any,
    ) -> None:
        self._client = client
        self._config = dict(config)
        self._prefix = prefix
        self._options = options
        self._collection: str | None = None
        self._meta = _meta(name, revision)

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """The model's description for mteb."""
        return self._meta

    def index(self, corpus: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, **_: Any) -> None:
        """Write a corpus, rows with `id`, `text` and `title`, to a new collection; the one before is dropped.

        Raises ValueError for a document that is refused.
        """
        self._drop(self._collection)
        self._collection = _collection_name(self._prefix, task_metadata.name, hf_subset, hf_split)
        self._drop(self._collection)
        self._client.create(self._collection, self._config)
        part: list[dict[str, str]] = []
        for row in corpus:
            part.append({"id": row["id"], "title": row.get("title") or "", "text": row.get("text") or ""})
            if len(part) == _WRITTEN:
                write_all(self._client, self._collection, part)
                part = []
        if part:
            write_all(self._client, self._collection, part)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """Return {query id: {document id: score}}. `top_ranked` are the documents that a reranking task allows.

        An instruction follows the query's text. Raises ValueError for a query that is not a text.
        """
        if self._collection is None:
            raise ValueError("index a corpus first")
        texts = {row["id"]: _text(row) for row in queries}
        options = {"k": min(top_k, runs.MOST), "include": [], **self._options}
        if top_ranked is None:
            found = list(runs.answers(self._client, self._collection, list(texts.values()), options))
        else:
            found = [
                self._client.search(
                    self._collection,
                    text,
                    **{**runs.EVALUATION, **options, "filter": {"ids": list(top_ranked[qid])}},
                )
                for qid, text in texts.items()
            ]
        return {
            qid: {hit.id: score for hit, score in runs.descending(answer.hits)}
            for qid, answer in zip(texts, found, strict=True)
        }

    def _drop(self, name: str | None) -> None:
        if name is None:
            return
        try:
            self._client.drop(name)
        except NotFound:
            return


def _text(row: Mapping[str, Any]) -> str:
    text = row["text"]
    if not isinstance(text, str):
        raise ValueError(f"query {row['id']!r} is not a text: lsr does not search by conversations")
    instruction = row.get("instruction")
    return f"{text} {instruction}" if instruction else text


def _collection_name(*parts: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", "-".join(parts).lower())[:_NAME]


def _meta(name: str, revision: str) -> ModelMeta:
    return ModelMeta(
        loader=None,
        name=name,
        revision=revision,
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=None,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=[],
        similarity_fn_name=None,
        use_instructions=None,
        training_datasets=None,
    )
