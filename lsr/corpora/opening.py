"""Opens a CORPUS argument: a folder, a file in one of the formats, standard input, or a data set's name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lsr.corpora.arrow_vectors import SUFFIXES as ARROW_SUFFIXES
from lsr.corpora.arrow_vectors import ArrowVectorsCorpus
from lsr.corpora.corpus import Corpus
from lsr.corpora.ir_dataset import PREFIX as IR_DATASETS
from lsr.corpora.ir_dataset import IrDatasetsCorpus
from lsr.corpora.jsonl import JsonlCorpus
from lsr.corpora.line_source import LineSource, SpooledInput
from lsr.corpora.matrix_files import SUFFIXES as MATRIX_SUFFIXES
from lsr.corpora.matrix_files import MatrixCorpus
from lsr.corpora.passages import PassageCorpus
from lsr.corpora.tsv import TsvCorpus
from lsr.corpora.vectors import parse_vector_document
from lsr.errors import CorpusUnreadable

FORMATS: Final = ("auto", "beir", "jsonl", "tsv", "parquet", "vectors")

_BY_SUFFIX: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".tsv": "tsv",
    ".parquet": "parquet",
    **dict.fromkeys((*MATRIX_SUFFIXES, *ARROW_SUFFIXES), "vectors"),
}
_NEVER_COMPRESSED: Final = (".parquet", *MATRIX_SUFFIXES, *ARROW_SUFFIXES)
_COMPRESSED: Final = (".gz", ".zst")


def open_corpus(spec: str, format: str = "auto", *, chunk: int | None = None) -> Corpus:  # noqa: A002
    """Return the corpus that `spec` names: a path, `-` for standard input, or `ir-datasets:ID`.

    `format` is one of FORMATS; `auto`: by the file name (standard input: JSON lines). `chunk` cuts texts into passages
    of at most that many words. Raises CorpusUnreadable, which says what is missing or unknown; ValueError for an
    unknown format or `chunk` < 1.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")
    corpus = _open(spec, format)
    return PassageCorpus(corpus, chunk) if chunk is not None else corpus


def holds_vectors(spec: str, format: str = "auto") -> bool:  # noqa: A002
    """Return whether `open_corpus` with these arguments reads ready-made vectors."""
    return format == "vectors" or (format == "auto" and Path(spec).suffix in (*MATRIX_SUFFIXES, *ARROW_SUFFIXES))


def _open(spec: str, format_name: str) -> Corpus:
    if spec.startswith(IR_DATASETS):
        return IrDatasetsCorpus(spec)
    if spec == "-":
        return _open_lines(spec, SpooledInput(), "jsonl" if format_name == "auto" else format_name)
    path = Path(spec)
    if not path.exists():
        raise CorpusUnreadable(f"{spec}: no such file or folder")
    if path.is_dir() or format_name == "beir":
        return JsonlCorpus(spec, LineSource(_beir_corpus(path)))
    if format_name == "auto":
        format_name = _format_by_name(path)
    if format_name == "parquet":
        from lsr.corpora.parquet import ParquetCorpus

        return ParquetCorpus(spec, path)
    if format_name == "vectors" and path.suffix in MATRIX_SUFFIXES:
        return MatrixCorpus(spec, path)
    if format_name == "vectors" and path.suffix in ARROW_SUFFIXES:
        return ArrowVectorsCorpus(spec, path)
    return _open_lines(spec, LineSource(path), format_name)


def _open_lines(spec: str, source: LineSource, format_name: str) -> Corpus:
    if format_name == "jsonl":
        return JsonlCorpus(spec, source)
    if format_name == "tsv":
        return TsvCorpus(spec, source)
    if format_name == "vectors":
        return JsonlCorpus(spec, source, parse_vector_document)
    raise CorpusUnreadable(f"{spec}: the format {format_name} needs a file or folder, not a stream")


def _beir_corpus(folder: Path) -> Path:
    if not folder.is_dir():
        raise CorpusUnreadable(f"{folder}: a BEIR corpus is a folder that contains corpus.jsonl")
    for suffix in ("", *_COMPRESSED):
        path = folder / f"corpus.jsonl{suffix}"
        if path.exists():
            return path
    raise CorpusUnreadable(f"{folder}: this folder has no corpus.jsonl (nor .gz or .zst)")


def _format_by_name(path: Path) -> str:
    name = path.name.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    suffix = Path(name).suffix
    if suffix in _NEVER_COMPRESSED and name != path.name.lower():
        raise CorpusUnreadable(f"{path}: decompress it first; {suffix} files cannot be streamed")
    if suffix not in _BY_SUFFIX:
        raise CorpusUnreadable(
            f"{path}: the name does not show the format; give --format jsonl, tsv, parquet or vectors"
        )
    return _BY_SUFFIX[suffix]
