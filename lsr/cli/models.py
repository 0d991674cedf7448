"""`lsr models`: the encoders that are known by name, and whether they need a download."""

from __future__ import annotations

from typing import Any

from lsr.cli.output import JsonFlag, print_json, print_table


def models(json: JsonFlag = False) -> int:
    """List the encoders that are known by name.

    Other masked-LM checkpoints work too: give the name on the model hub or the path of the folder.
    """
    from encoders.cards import model_cards

    cached = _cached_checkpoints()
    rows: list[dict[str, Any]] = []
    for card in model_cards().values():
        needed = [name for name in (card.checkpoint, card.query_checkpoint) if name]
        rows.append(
            {
                "name": card.name,
                "checkpoint": card.checkpoint,
                "here": all(name in cached for name in needed),
                "parameters": card.parameters,
                "licence": card.licence,
                "figures": dict(card.figures),
                "source": card.source,
                "needs_remote_code": card.remote_code,
                "note": card.note,
            }
        )
    named = {row["checkpoint"] for row in rows}
    others = sorted(name for name in cached if name not in named)
    if json:
        print_json({"encoders": rows, "other_cached_checkpoints": others})
        return 0
    header = ("encoder", "here", "parameters", "MRR@10", "BEIR", "licence", "note")
    print_table(header, [_cells(row) for row in rows], right=(2, 3, 4))
    for name in others:
        print(f"{name}  (in the hub's cache)")
    print("\nFigures as published: MS MARCO MRR@10 × 100, BEIR nDCG@10 over 13 sets. --json gives their sources.")
    print("Also: --encoder NAME for a masked-LM checkpoint on the model hub, --encoder PATH for a checkpoint's folder.")
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    parameters = f"{row['parameters'] / 1e6:.0f} M" if row["parameters"] else ""
    figures = row["figures"]
    mrr = f"{figures['MS MARCO MRR@10']:.1f}" if "MS MARCO MRR@10" in figures else ""
    beir = f"{figures['BEIR-13 nDCG@10']:.3f}" if "BEIR-13 nDCG@10" in figures else ""
    note = "contains its own code, which is not run" if row["needs_remote_code"] else row["note"]
    return row["name"], "yes" if row["here"] else "", parameters, mrr, beir, row["licence"], note


def _cached_checkpoints() -> set[str]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir()
    except CacheNotFound:
        return set()
    return {repo.repo_id for repo in cache.repos if repo.repo_type == "model"}
