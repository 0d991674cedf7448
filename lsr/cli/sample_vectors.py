"""The sample collection's vectors, encoded beforehand: samples/arxiv-10k.lsr-mini.npz.

    fingerprint   the model's; another model's vectors are not used
    sample        SHA-256 of samples/arxiv-10k.jsonl.zst
    indptr int64 [documents + 1], indices uint16 [weights], data float16 [weights]     CSR, rows in the sample's order

They were made in float32, and float16 keeps a weight to three digits. `make demo` indexes them and takes seconds;
encoding them again takes minutes. `check` encodes some documents again and compares, also in float32: in bfloat16 a
weight may be .006 off, and one in a hundred terms of a document another one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from encoders.encoder import Encoder
from encoders.errors import SettingError
from lsr.corpora import Corpus, open_corpus
from lsr.corpora.corpus import CorpusLine, WrappedCorpus
from lsr.documents import DEFAULT_VECTOR, Document, SparseByIndex
from lsr.errors import CorpusUnreadable, EncoderMismatch

_TOLERANCE = 0.002  # of a weight: float16 in the file is within .0005 of float32
_SWAPPED = 2  # terms of a document that rounding may swap at the cut to max_active_dims


@dataclass(frozen=True)
class SampleVectors:
    """Vectors of a sample, float32 csr_array [documents, vocabulary], and what they were made of."""

    fingerprint: str
    sample: str
    weights: csr_array

    def save(self, file: Path) -> None:
        """Write the file; the same vectors give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            fingerprint=np.array(self.fingerprint),
            sample=np.array(self.sample),
            indptr=self.weights.indptr.astype(np.int64),
            indices=self.weights.indices.astype(np.uint16),
            data=self.weights.data.astype(np.float16),
            n_terms=np.array(self.weights.shape[1]),
        )
        file.write_bytes(buffer.getvalue())

    @classmethod
    def load(cls, file: Path) -> SampleVectors:
        """Raises CorpusUnreadable for a file that is not there or no such file."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                shape = (len(arrays["indptr"]) - 1, int(arrays["n_terms"]))
                parts = (arrays["data"].astype(np.float32), arrays["indices"].astype(np.int32), arrays["indptr"])
                return cls(str(arrays["fingerprint"]), str(arrays["sample"]), csr_array(parts, shape=shape))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise CorpusUnreadable(f"{file}: no vectors of the sample can be read ({error})") from None

    def check(self, encoder: Encoder, sample: Path, documents: int) -> int:
        """Encode `documents` of the sample again, evenly spaced, and return how many differ from what is stored.

        Raises EncoderMismatch for another model or another sample, SettingError unless the encoder computes in float32.
        """
        self.require(encoder.fingerprint, sample)
        encoder.prepare_documents()
        if encoder.dtype != "float32":
            raise SettingError(
                f"the sample's vectors are compared in float32, and this encoder computes in {encoder.dtype}"
            )
        rows = np.unique(np.linspace(0, self.weights.shape[0] - 1, documents).astype(np.int64))
        texts = [document.full_text for document in _documents(open_corpus(str(sample)))]
        again = encoder.encode_documents([texts[row] for row in rows.tolist()])
        return sum(not _alike(self.weights[[row]], again[[i]]) for i, row in enumerate(rows.tolist()))

    def require(self, fingerprint: str, sample: Path) -> None:
        """Raise EncoderMismatch unless the vectors are those of this model and this sample."""
        digest = hashlib.sha256(sample.read_bytes()).hexdigest()
        if (fingerprint, digest) != (self.fingerprint, self.sample):
            raise EncoderMismatch(
                f"the sample's vectors were made by {self.fingerprint} of the sample {self.sample[:12]}, but here are "
                f"{fingerprint} and {digest[:12]}: encode them again (benchmarks/encode_sample.py)"
            )


class EncodedCorpus(WrappedCorpus):
    """A corpus whose documents bring their vectors."""

    def __init__(self, corpus: Corpus, weights: csr_array) -> None:
        super().__init__(corpus)
        self._weights = weights

    def __iter__(self) -> Iterator[CorpusLine]:
        for row, line in enumerate(self._corpus):
            if isinstance(line.content, Document):
                span = slice(self._weights.indptr[row], self._weights.indptr[row + 1])
                vector = SparseByIndex(
                    tuple(self._weights.indices[span].tolist()), tuple(self._weights.data[span].tolist())
                )
                yield line._replace(content=replace(line.content, vectors={DEFAULT_VECTOR: vector}))
            else:
                yield line


def encode_sample(encoder: Encoder, sample: Path) -> SampleVectors:
    """Return the vectors of every document of the sample."""
    from scipy.sparse import vstack

    texts = (document.full_text for document in _documents(open_corpus(str(sample))))
    weights: csr_array = vstack(list(encoder.encode_document_batches(texts)), format="csr")
    return SampleVectors(encoder.fingerprint, hashlib.sha256(sample.read_bytes()).hexdigest(), weights)


def _documents(corpus: Corpus) -> Iterator[Document]:
    for line in corpus:
        if not isinstance(line.content, Document):
            raise CorpusUnreadable(f"{corpus.name}:{line.line_number}: {line.content}")
        yield line.content


def _alike(stored: csr_array, again: csr_array) -> bool:
    """Return whether two rows are the same up to rounding; at the cut, one term may be in the place of another."""
    difference = np.abs(stored - again).toarray()[0]
    return int((difference > _TOLERANCE).sum()) <= _SWAPPED
