"""`lsr models`: the encoders that need no download, and how to name the others."""

from __future__ import annotations

from typing import Any

from lsr.cli.output import JsonFlag, human_bytes, print_json, print_table


def models(json: JsonFlag = False) -> int:
    """List the encoders that are on this machine."""
    rows: list[dict[str, Any]] = [
        {"name": "bm25", "source": "built in", "bytes": 0, "about": "lexical baseline; learns its vocabulary"},
        *_cached_checkpoints(),
    ]
    if json:
        print_json({"encoders": rows})
        return 0
    cells = [
        (row["name"], row["source"], human_bytes(row["bytes"]) if row["bytes"] else "", row["about"]) for row in rows
    ]
    print_table(("encoder", "source", "size", "about"), cells)
    print("\nAlso: --encoder NAME for a masked-LM checkpoint on the model hub, --encoder PATH for one in a folder.")
    return 0


def _cached_checkpoints() -> list[dict[str, Any]]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir()
    except CacheNotFound:
        return []
    return [
        {"name": repo.repo_id, "source": "hub cache", "bytes": repo.size_on_disk, "about": ""}
        for repo in sorted(cache.repos, key=lambda repo: repo.repo_id)
        if repo.repo_type == "model"
    ]
