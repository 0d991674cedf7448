"""lsr-mini's head over token states with the cut, as it would be shipped: nDCG@10 and tests against lsr-mini.

    python -m benchmarks.token_head DEV/* --fit docs/training/lsr-mini.toml [--head RUN/head.safetensors]

    logit[v] = max( u_v . p,  maximum over tokens i of u_v . normalised(M normalised(s_i)) )
    weight[v] = factor[v] * impact[v] + scale * relu(logit[v] + b_v - margin)             the --terms largest are kept

s_i are the states of the first 128 word pieces, p their normalised mean. M is fitted by ridge regression from a state
to the p of its document, over every eighth training document of the configuration --fit; no development set is read
for it. With --head, M, u, b, the factors and the queries' table are those that benchmarks.token_head_training wrote.
The body is in bfloat16, the shipped head's int8 weights are read as they are. Documents per second are those of the
forms together, with the texts' own products in float32.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.sparse import csr_array, vstack
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.encoders_ranking import read
from benchmarks.ranking_lengths import ndcg, table, tests
from benchmarks.ranking_vectors import Statistics, lsr_mini
from encoders import load_encoder
from encoders.compute.batches import token_batches
from encoders.compute.rows import in_order, to_csr
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledHead, PooledSide
from encoders.sides.rows import prune
from lsr.training.config import read_config
from lsr.training.pairs import read_pairs

_TOKENS = 4096  # per batch of the body
FORMS = [(1.0, 0.0), (0.85, 0.0), (0.85, 0.05), (0.7, 0.1)]  # scale and margin


class TokenHead(PooledHead):
    """A pooled head that reads several vectors of a text, and takes the largest logit of each term."""

    def __init__(self, head: PooledHead, mapping: Tensor) -> None:
        """Starts at `head` and M = `mapping` [size, size]."""
        super().__init__(head.expansion.in_features, len(head.factor))
        self.load_state_dict(head.state_dict())
        self.mapping = nn.Parameter(mapping.clone())

    def vectors(self, states: Tensor) -> Tensor:
        """Return the vectors of texts, float32 [..., length, size], of p (the first) and normalised states."""
        mapped = functional.normalize(states[..., 1:, :] @ self.mapping, dim=-1)
        return torch.cat([states[..., :1, :], mapped], dim=-2)

    def forward(self, pooled: Tensor, impacts: Tensor, columns: Tensor | None = None) -> Tensor:
        """As PooledHead's, of states [texts, 1 + length, size]; a shorter text repeats one of its states."""
        return super().forward(self.vectors(pooled), impacts[:, None], columns).amax(dim=1)


def states(side: PooledSide, texts: Sequence[str]) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Yield numbers of texts and for each float32 [1 + word pieces, size]: p, then the normalised states."""
    ids = side.read(texts)
    for batch in token_batches([len(one) for one in ids], _TOKENS):
        with torch.inference_mode():
            parts = torch.split(side.body([ids[i] for i in batch]).float(), [len(ids[i]) for i in batch])
            found = [functional.normalize(torch.cat([one.mean(dim=0, keepdim=True), one]), dim=1) for one in parts]
        yield list(batch), found


def fitted_map(side: PooledSide, texts: Sequence[str]) -> Tensor:
    """Return the linear map from a normalised state to the p of its text, float32 [size, size]."""
    left, right = torch.zeros(side.dense_size, side.dense_size), torch.zeros(side.dense_size, side.dense_size)
    for _, parts in states(side, texts):
        for part in parts:
            left += part[1:].T @ part[1:]
            right += part[1:].T @ part[:1].expand(len(part) - 1, -1)
    found: Tensor = torch.linalg.solve(left + torch.eye(len(left)), right)
    return found


def encode(side: PooledSide, head: TokenHead, texts: Sequence[str], given: argparse.Namespace) -> dict[str, csr_array]:
    """Return the documents' weights by form."""
    forms = FORMS[: given.forms]
    order: list[int] = []
    rows: dict[str, list[csr_array]] = {f"{scale:g}, {margin:g}": [] for scale, margin in forms}
    settings = dataclasses.replace(side.settings, max_active_dims=given.terms)
    ids = side.ids(texts)
    weight, bias, factor = head.expansion.weight, head.expansion.bias, torch.relu(head.factor)
    for batch, parts in states(side, texts):
        with torch.inference_mode():
            read_from = [head.vectors(part[:1] if given.plain else part) for part in parts]
            logits = torch.stack([functional.linear(one, weight).amax(dim=0) for one in read_from]) + bias
            keys, impacts = side.impacts([ids[i] for i in batch])
            for scale, margin in forms:
                weights = torch.relu(logits - margin) * scale
                weights.view(-1)[keys] += impacts * factor[keys % side.n_terms]
                rows[f"{scale:g}, {margin:g}"].append(prune(to_csr(weights * side.ordinary), settings))
        order += batch
    return {form: in_order(parts, order, side.n_terms) for form, parts in rows.items()}


def load(given: argparse.Namespace) -> tuple[LearnedEncoder, PooledSide, TokenHead]:
    """Return lsr-mini, its document side and the head."""
    encoder = lsr_mini("bfloat16")
    encoder.prepare_documents()
    side = encoder.documents
    if not isinstance(side, PooledSide):
        raise SystemExit("lsr-mini has no pooled side any more")
    if given.head is None:
        texts = read_pairs(read_config(given.fit).data).documents[::8]
        return encoder, side, TokenHead(side.head, fitted_map(side, texts))
    trained = load_file(given.head)
    encoder.queries.table[:] = trained.pop("table").numpy()
    head = TokenHead(side.head, torch.eye(side.dense_size))
    head.load_state_dict(trained)
    return encoder, side, head


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="BEIR folders with a split dev")
    parser.add_argument("--fit", type=Path, required=True)
    parser.add_argument("--head", type=Path)
    parser.add_argument("--plain", action="store_true", help="the head reads p alone")
    parser.add_argument("--terms", type=int, default=250)
    parser.add_argument("--forms", type=int, default=len(FORMS), help="of the first scales and margins")
    given = parser.parse_args()
    encoder, side, head = load(given)
    shipped = load_encoder("lsr-mini", device="cpu", dtype="bfloat16", document_max_active_dims=given.terms)
    rows: dict[str, dict[str, Any]] = {}
    sizes: dict[str, list[float]] = {}
    for folder in given.folders:
        texts, asked, judged = read(folder)
        begun = time.perf_counter()
        made = encode(side, head, texts, given)
        seconds = time.perf_counter() - begun
        plain = vstack(list(shipped.encode_document_batches(texts)), format="csr")
        for form, documents in {"lsr-mini": plain, **made}.items():
            by = shipped if form == "lsr-mini" else encoder
            rows.setdefault(form, {})[folder.name] = ndcg(
                by.encode_queries(asked, Statistics(documents)), documents, judged
            )
            sizes.setdefault(form, []).append(documents.nnz / len(texts))
        print(f"{folder.name}: {len(texts) / seconds:.0f} documents per second", flush=True)
    print(table(rows))
    for form in rows:
        print(f"\n{form}: {np.mean(sizes[form]):.0f} terms per document\n")
        if form != "lsr-mini":
            print(tests(rows[form], rows["lsr-mini"]))


if __name__ == "__main__":
    main()
