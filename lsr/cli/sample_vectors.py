"""The precomputed vectors of the sample collection: samples/arxiv-10k.lsr-mini.npz.

    fingerprint   the model's; vectors of another model are not used
    sample        SHA-256 of samples/arxiv-10k.jsonl.zst
    indptr int64 [documents + 1], indices uint16 [weights], data float16 [weights]     CSR, rows in the sample's order

and samples/arxiv-10k.lsr-mini.dense.npz: dense int8 [documents, size] and scale float32 [documents], the dense vectors
that the same pass makes, with the same fingerprint and sample.

float16 keeps a weight to three digits. `make demo` indexes them and takes seconds; encoding takes minutes. `check`
encodes some documents again, in float32, and compares: in bfloat16 a weight may be .006 off, and one in a hundred terms
of a document another one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.errors import SettingError
from encoders.learned import LearnedEncoder
from lsr.corpora import Corpus, open_corpus
from lsr.corpora.corpus import CorpusLine, WrappedCorpus
from lsr.default_pipeline import MEANING
from lsr.dense_vectors import unit_rows
from lsr.documents import DEFAULT_VECTOR, DenseInput, Document, SparseByIndex, VectorInput
from lsr.errors import CorpusUnreadable, EncoderMismatch

_BATCH = 1024
_TOLERANCE = 0.002  # of a weight: float16 in the file is within .0005 of float32
_LEAST_COSINE = 0.999  # of a dense vector with the stored one, both int8
_SWAPPED = 2  # terms of a document that rounding may swap at the cut to max_active_dims


@dataclass(frozen=True)
class SampleVectors:
    """Vectors of a sample, with the model and the sample they come from.

    weights  float32 csr_array [documents, vocabulary]
    dense    int8 [documents, size] with scale, float32 [documents]: as stored in a collection
    """

    fingerprint: str
    sample: str
    weights: csr_array
    dense: NDArray[np.int8]
    scale: NDArray[np.float32]

    def save(self, file: Path) -> None:
        """Write the file; equal vectors give equal bytes."""
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
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            fingerprint=np.array(self.fingerprint),
            sample=np.array(self.sample),
            dense=self.dense,
            scale=self.scale,
        )
        _dense_file(file).write_bytes(buffer.getvalue())

    @classmethod
    def load(cls, file: Path) -> SampleVectors:
        """Read the file; raises CorpusUnreadable if it is missing or not in this format."""
        try:
            with np.load(file, allow_pickle=False) as arrays, np.load(_dense_file(file), allow_pickle=False) as more:
                shape = (len(arrays["indptr"]) - 1, int(arrays["n_terms"]))
                parts = (arrays["data"].astype(np.float32), arrays["indices"].astype(np.int32), arrays["indptr"])
                weights = csr_array(parts, shape=shape)
                source = (str(arrays["fingerprint"]), str(arrays["sample"]))
                if source != (str(more["fingerprint"]), str(more["sample"])):
                    raise ValueError("the sparse and the dense vectors are not of one model and sample")
                return cls(*source, weights, more["dense"], more["scale"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise CorpusUnreadable(f"{file}: the sample's vectors cannot be read ({error})") from None

    def check(self, encoder: LearnedEncoder, sample: Path, documents: int) -> int:
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
        again, vectors = encoder.encode_documents_with_dense([texts[row] for row in rows.tolist()])
        steps, scale = unit_rows(vectors)
        cosines = np.einsum("ij,ij->i", self._directions(rows), steps * scale[:, None])
        return sum(
            not _alike(self.weights[[row]], again[[i]]) or bool(cosines[i] < _LEAST_COSINE)
            for i, row in enumerate(rows.tolist())
        )

    def _directions(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        directions: NDArray[np.float32] = self.dense[rows] * self.scale[rows, None]
        return directions

    def require(self, fingerprint: str, sample: Path) -> None:
        """Raise EncoderMismatch unless the vectors come from this model and this sample."""
        digest = hashlib.sha256(sample.read_bytes()).hexdigest()
        if (fingerprint, digest) != (self.fingerprint, self.sample):
            raise EncoderMismatch(
                f"the sample's vectors come from the model {self.fingerprint} and the sample {self.sample[:12]}, but "
                f"this is {fingerprint} and {digest[:12]}: encode them again (benchmarks/encode_sample.py)"
            )


class EncodedCorpus(WrappedCorpus):
    """A corpus whose documents have precomputed vectors."""

    def __init__(self, corpus: Corpus, vectors: SampleVectors) -> None:
        super().__init__(corpus)
        self._weights = vectors.weights
        self._dense = vectors.dense
        self._scale = vectors.scale

    def __iter__(self) -> Iterator[CorpusLine]:
        for row, line in enumerate(self._corpus):
            if isinstance(line.content, Document):
                span = slice(self._weights.indptr[row], self._weights.indptr[row + 1])
                sparse = SparseByIndex(
                    tuple(self._weights.indices[span].tolist()), tuple(self._weights.data[span].tolist())
                )
                dense = DenseInput(tuple((self._dense[row] * self._scale[row]).tolist()))
                vectors: dict[str, VectorInput] = {DEFAULT_VECTOR: sparse, MEANING: dense}
                yield line._replace(content=replace(line.content, vectors=vectors))
            else:
                yield line


def _dense_file(file: Path) -> Path:
    return file.with_suffix(".dense.npz")


def encode_sample(encoder: LearnedEncoder, sample: Path) -> SampleVectors:
    """Return the vectors of every document of the sample."""
    from scipy.sparse import vstack

    texts = [document.full_text for document in _documents(open_corpus(str(sample)))]
    found = [encoder.encode_documents_with_dense(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
    weights: csr_array = vstack([sparse for sparse, _ in found], format="csr")
    steps, scale = unit_rows(np.concatenate([dense for _, dense in found]))
    digest = hashlib.sha256(sample.read_bytes()).hexdigest()
    return SampleVectors(encoder.fingerprint, digest, weights, steps, scale)


def _documents(corpus: Corpus) -> Iterator[Document]:
    for line in corpus:
        if not isinstance(line.content, Document):
            raise CorpusUnreadable(f"{corpus.name}:{line.line_number}: {line.content}")
        yield line.content


def _alike(stored: csr_array, again: csr_array) -> bool:
    """Return whether two rows are equal up to rounding; at the cut, one term may replace another."""
    difference = np.abs(stored - again).toarray()[0]
    return int((difference > _TOLERANCE).sum()) <= _SWAPPED
