"""lsr-mini's body in int8 by other libraries, against its own bfloat16 and float32 pass, alternately in one run.

    python benchmarks/encoders_int8.py export FOLDER                       body.onnx, and int8 by ONNX Runtime (dynamic)
    OTHER_PYTHON benchmarks/encoders_int8.py openvino FOLDER               int8 by NNCF and OpenVINO (post-training)
    python benchmarks/encoders_int8.py measure FOLDER [--threads 1] [--rounds 3] [--only WAY ...]

OTHER_PYTHON needs nncf, openvino and onnx (not dependencies of this project), the last step openvino where FOLDER has
its model. The texts are SciFact's abstracts, cut to WORDS words; NNCF calibrates its activations on the 128 abstracts
after the first 1,024. All ways read the same batches. A JSON line each: documents per second of wall-clock time and of
the process's own time on all cores, and the mean cosine to the float32 vectors.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]  # tokens and mask [texts, longest]
Forward = Callable[[Batch], NDArray[np.float32]]  # states [texts, longest, size]
SCIFACT = Path(__file__).parents[1] / "tests" / "data" / "scifact"
_CALIBRATION = slice(1024, 1152)
_INPUTS = ("input_ids", "attention_mask")


def export(folder: Path) -> None:
    """Write body.onnx, body.int8.onnx and the calibration's batches."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    side = lsr_mini("float32")
    model = side.body.model
    model.set_attn_implementation("eager")
    folder.mkdir(parents=True, exist_ok=True)
    batches = batches_of(side, texts_of(_CALIBRATION, 90))
    with (folder / "calibration.npz").open("wb") as file:
        np.savez(
            file,
            **{f"{part}{i}": array for i, batch in enumerate(batches) for part, array in zip("im", batch, strict=True)},
        )
    ids, mask = (torch.from_numpy(part) for part in batches[0])

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            found = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True)
            states: torch.Tensor = found.last_hidden_state
            return states

    axes = {name: {0: "texts", 1: "tokens"} for name in (*_INPUTS, "last_hidden_state")}
    torch.onnx.export(
        States(),
        (ids, mask),
        str(folder / "body.onnx"),
        input_names=list(_INPUTS),
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(folder / "body.onnx", folder / "body.int8.onnx", weight_type=QuantType.QInt8, per_channel=True)


def openvino(folder: Path) -> None:
    """Write int8.xml, quantised by NNCF, and float.xml."""
    import nncf
    import openvino as ov

    model = ov.convert_model(str(folder / "body.onnx"))
    ov.save_model(model, folder / "float.xml")
    with np.load(folder / "calibration.npz") as file:
        count = sum(name.startswith("i") for name in file)
        batches = [dict(zip(_INPUTS, (file[f"i{n}"], file[f"m{n}"]), strict=True)) for n in range(count)]
    quantised = nncf.quantize(model, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER)
    ov.save_model(quantised, folder / "int8.xml")


def measure(folder: Path, only: list[str], *, threads: int, rounds: int, documents: int, words: int) -> None:
    """Print a line for each way."""
    import torch

    from eval.machine import describe_machine

    torch.set_num_threads(1)
    side = lsr_mini("float32")
    batches = batches_of(side, texts_of(slice(0, documents), words))
    makers: dict[str, Callable[[], Forward]] = {
        "own, float32": lambda: own("float32"),
        "own, bfloat16": lambda: own("bfloat16"),
        "ONNX Runtime, float32": lambda: onnxruntime(folder / "body.onnx"),
        "ONNX Runtime, dynamic int8": lambda: onnxruntime(folder / "body.int8.onnx"),
        "OpenVINO, bfloat16": lambda: openvino_way(folder / "float.xml", "bf16", threads),
        "OpenVINO, int8": lambda: openvino_way(folder / "int8.xml", "f32", threads),
        "OpenVINO, int8 and bfloat16": lambda: openvino_way(folder / "int8.xml", "bf16", threads),
    }
    ways = {name: make() for name, make in makers.items() if not only or name in only}
    reference = own("float32")
    exact = np.concatenate([pooled(reference(batch), batch[1]) for batch in batches])
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    wall: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, NDArray[np.float32]] = {}
    for round_ in range(rounds + 1):  # the first is not counted
        for name, forward in ways.items():
            begun, begun_own = time.perf_counter(), time.process_time()
            found = list(pool.map(lambda batch, forward=forward: pooled(forward(batch), batch[1]), batches))
            if round_:
                wall[name].append(round(documents / (time.perf_counter() - begun), 1))
                spent[name].append(round(documents / (time.process_time() - begun_own), 1))
            vectors[name] = np.concatenate(found)
    print(json.dumps({"machine": describe_machine(), "threads": threads, "documents": documents, "words": words}))
    for name in ways:
        cosine = float((vectors[name] * exact).sum(axis=1).mean())
        line = {"way": name, "per_second": wall[name], "per_second_of_own_time": spent[name]}
        print(json.dumps({**line, "cosine": round(cosine, 4)}))


def own(dtype: str) -> Forward:
    """Return this project's forward pass."""
    import torch

    from encoders.compute.device import float32_products

    body = lsr_mini(dtype).body

    def forward(batch: Batch) -> NDArray[np.float32]:
        ids, mask = batch
        texts = [row[: int(length)] for row, length in zip(ids.tolist(), mask.sum(axis=1), strict=True)]
        padded = np.zeros((*ids.shape, body.hidden_size), dtype=np.float32)
        with torch.inference_mode(), float32_products(rows=int(mask.sum())):
            padded[mask.astype(bool)] = body(texts).float().numpy()
        return padded

    return forward


def onnxruntime(file: Path) -> Forward:
    """Return the graph's forward pass; each call computes in the thread that calls."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, dict(zip(_INPUTS, batch, strict=True)))[0]


def openvino_way(file: Path, precision: str, threads: int) -> Forward:
    """Return OpenVINO's forward pass, with a stream for each thread."""
    import openvino as ov

    options = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    compiled: Any = ov.Core().compile_model(file, "CPU", options)

    def forward(batch: Batch) -> NDArray[np.float32]:
        found = compiled.create_infer_request().infer(dict(zip(_INPUTS, batch, strict=True)))
        states: NDArray[np.float32] = found[compiled.output(0)]
        return states

    return forward


def pooled(states: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return each text's mean state, of length 1."""
    means = (states * mask[:, :, None]).sum(axis=1)
    unit: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def lsr_mini(dtype: str) -> Any:
    """Return lsr-mini's document side."""
    from encoders import load_encoder

    return load_encoder("lsr-mini", device="cpu", dtype=dtype).documents  # type: ignore[attr-defined]


def texts_of(part: slice, words: int) -> list[str]:
    """Return SciFact's abstracts, cut."""
    from lsr.corpora import open_corpus
    from lsr.documents import Document

    lines = (line.content for line in open_corpus(str(SCIFACT / "corpus.jsonl.zst")))
    return [" ".join(one.text.split()[:words]) for one in lines if isinstance(one, Document)][part]


def batches_of(side: Any, texts: list[str]) -> list[Batch]:
    """Return padded batches of similar length, as a bfloat16 side makes them."""
    import torch

    from encoders.sides.transformer_side import batches_of as positions_of

    read = side.read(texts)
    batches = []
    for batch in positions_of([len(one) for one in read], torch.device("cpu"), torch.bfloat16):
        longest = max(len(read[at]) for at in batch)
        ids = np.array([read[at] + [0] * (longest - len(read[at])) for at in batch], dtype=np.int64)
        batches.append((ids, np.array([[1] * len(read[at]) + [0] * (longest - len(read[at])) for at in batch])))
    return batches


def main() -> None:
    """Read the arguments, do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["export", "openvino", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[], help="such as 'own, bfloat16'")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--words", type=int, default=90)
    given = parser.parse_args()
    if given.step == "export":
        export(given.folder)
    elif given.step == "openvino":
        openvino(given.folder)
    else:
        measure(
            given.folder,
            given.only,
            threads=given.threads,
            rounds=given.rounds,
            documents=given.documents,
            words=given.words,
        )


if __name__ == "__main__":
    main()
