"""Layout 6: a folder with a tokenizer and an ONNX graph that computes pooled weights, and no other weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders.checkpoints.sources import SideSource, Sources
from encoders.errors import CheckpointError
from encoders.settings import Family, SideSettings

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def has_onnx_alone(folder: Path) -> bool:
    """Return whether the folder contains an ONNX graph and no weights that transformers reads."""
    return bool(_graphs(folder)) and not any(True for kind in ("*.safetensors", "*.bin") for _ in folder.glob(kind))


def read_onnx(folder: Path) -> Sources:
    """Return the one graph as both sides; raise CheckpointError if there are several."""
    graphs = _graphs(folder)
    if len(graphs) > 1:
        names = ", ".join(str(graph.relative_to(folder)) for graph in graphs)
        raise CheckpointError(f"{folder} contains several ONNX graphs ({names}); keep only one of them")
    source = SideSource(folder, SideSettings(family=Family.ONNX), graph=graphs[0])
    return Sources(queries=source, documents=source)


def open_graph(source: SideSource, n_tokens: int) -> tuple[Any, int]:
    """Return the session and the number of its terms; raise CheckpointError for another kind of graph."""
    if source.graph is None:
        raise CheckpointError(f"{source.folder}: there is no ONNX graph; family='onnx' needs one")
    try:
        import onnxruntime
    except ImportError:
        raise CheckpointError(
            f"{source.graph} needs onnxruntime, which is not installed: pip install 'lsr[onnx]'"
        ) from None
    try:
        session = onnxruntime.InferenceSession(str(source.graph), providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of onnxruntime have no other common class
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise CheckpointError(f"{source.graph} cannot be read: {reason}") from None
    unknown = [one.name for one in session.get_inputs() if one.name not in _INPUTS]
    if unknown:
        raise CheckpointError(f"{source.graph}: the inputs {', '.join(unknown)} are not known")
    outputs = session.get_outputs()
    kinds = ["float" if "float" in output.type else "int" for output in outputs]
    ranks = [len(output.shape) for output in outputs]
    if kinds == ["float"] and ranks == [2]:
        width = outputs[0].shape[1]
        return session, width if isinstance(width, int) else n_tokens
    if sorted(kinds) == ["float", "int"]:
        return session, n_tokens
    shown = ", ".join(f"{output.name} {output.shape}" for output in outputs)
    raise CheckpointError(
        f"{source.graph}: its outputs ({shown}) are not pooled weights; a graph that ends in logits or hidden states "
        "is not supported: load the checkpoint that it was exported from"
    )


def _graphs(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
