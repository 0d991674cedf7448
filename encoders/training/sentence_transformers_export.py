"""Makes a saved encoder loadable by sentence-transformers as well: the same folders, with a second description.

    modules.json                         one module, a Router
    router_config.json                   query -> queries/, document -> documents/
    queries/config.json, model.safetensors        SparseStaticEmbedding's
    documents/literal_config.json        read by DocumentSide

sentence-transformers 6 imports a class of another package only with trust_remote_code=True, for local folders too,
and then from the installed package:

    SparseEncoder(folder, trust_remote_code=True)        with this project importable

See docs/decisions/0702.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from encoders.checkpoints.files import read_object
from encoders.settings import Family

_QUERIES = "encoders.training.sentence_transformers_modules.QuerySide"
_MODULE = "encoders.training.sentence_transformers_modules.DocumentSide"
_STATIC = "sentence_transformers.sparse_encoder.modules.sparse_static_embedding.SparseStaticEmbedding"
_ROUTER = "sentence_transformers.base.modules.router.Router"


def write_sentence_transformers(folder: Path) -> bool:
    """Describe the encoder that `save_encoder` wrote to `folder`; return False, and change nothing, for other sides."""
    sides = read_object(folder / "encoder.json")
    families = (sides["queries"]["settings"]["family"], sides["documents"]["settings"]["family"])
    if families not in ((Family.STATIC, Family.LITERAL), (Family.STATIC, Family.POOLED)):
        return False
    _write(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": _ROUTER}])
    conflated = sides["queries"]["settings"].get("conflate", False)
    _write(
        folder / "router_config.json",
        {
            "types": {"queries": _QUERIES if conflated else _STATIC, "documents": _MODULE},
            "structure": {"query": ["queries"], "document": ["documents"]},
            "parameters": {"default_route": "document", "allow_empty_key": True},
        },
    )
    _write(
        folder / "config_sentence_transformers.json",
        {"model_type": "SparseEncoder", "prompts": {"query": "", "document": ""}, "similarity_fn_name": "dot"},
    )
    if not conflated:
        _write(folder / "queries" / "config.json", {"frozen": True})
        shutil.copyfile(folder / "queries" / "static_weights.safetensors", folder / "queries" / "model.safetensors")
    return True


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
