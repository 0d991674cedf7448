"""Folders with two models side by side, as the code of naver/splade saves them.

    config.json, weights, tokenizer     the document model        splade.hf: the query model is a folder in it
    query/                              the query model

    model/                              the document model        splade.tasks: the folder of a run
    model_q/                            the query model, if the two are not one

Each is a folder as transformers writes it (transformers_layout), read with SPLADE's settings. A folder does not say
that its queries are a bag of words, or lexical: query_family="static", query_lexical=True.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.checkpoints.sources import Sources
from encoders.checkpoints.transformers_layout import read_plain


def has_two_models(folder: Path) -> bool:
    """Return whether the folder has this layout."""
    if (folder / "config.json").is_file():
        return (folder / "query" / "config.json").is_file()
    return (folder / "model" / "config.json").is_file()


def read_two_models(folder: Path, settings: Mapping[str, Any]) -> Sources:
    """Return both sides, of one model where there is no query model; raise CheckpointError for another kind."""
    root = (folder / "config.json").is_file()
    documents = folder if root else folder / "model"
    queries = folder / ("query" if root else "model_q")
    return Sources(
        queries=read_plain(queries if queries.is_dir() else documents, settings).queries,
        documents=read_plain(documents, settings).documents,
    )
