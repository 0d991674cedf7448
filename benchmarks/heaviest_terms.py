"""Ten abstracts of the sample with their twenty heaviest terms and ten expansion terms, as Markdown for a model card.

python benchmarks/heaviest_terms.py lsr-mini

Terms are ordered by document weight times query weight: the contribution that a query word would have. Terms that are
not in the text are in bold.
"""

from __future__ import annotations

import argparse

import numpy as np

from encoders import load_encoder
from encoders.learned import LearnedEncoder
from encoders.sides.static import StaticSide
from lsr.corpora import open_corpus
from lsr.documents import Document

_SAMPLE = "samples/arxiv-10k.jsonl.zst"
_ABSTRACTS = 10
_TERMS = 20
_EXPANSION = 10


def main() -> None:
    """Print one paragraph per abstract."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    given = parser.parse_args()
    encoder = load_encoder(given.encoder, dtype="float32")
    if not isinstance(encoder, LearnedEncoder) or not isinstance(encoder.queries, StaticSide):
        raise SystemExit(f"{given.encoder} has no static query side")
    documents = [line.content for line in open_corpus(_SAMPLE) if isinstance(line.content, Document)]
    chosen = documents[:: len(documents) // _ABSTRACTS][:_ABSTRACTS]
    matrix = encoder.encode_documents([document.full_text for document in chosen])
    for row, document in enumerate(chosen):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        terms, worth = matrix.indices[span], matrix.data[span] * encoder.queries.table[matrix.indices[span]]
        own = set(encoder.input_term_ids(document.full_text).tolist())
        order = np.argsort(-worth, kind="stable")
        heaviest = terms[order[:_TERMS]]
        others = [term for term in terms[order].tolist() if term not in own][:_EXPANSION]
        names = encoder.vocabulary.tokens(heaviest)
        shown = [name if term in own else f"**{name}**" for name, term in zip(names, heaviest.tolist(), strict=True)]
        print(f"* *{document.title}* ({document.id}, {len(terms)} terms): {', '.join(shown)}.", end=" ")
        print(f"Expansion: {', '.join(encoder.vocabulary.tokens(others))}.\n")


if __name__ == "__main__":
    main()
