"""Opens a CORPUS argument: a folder, a file in one of the formats, standard input, or a data set's name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lsr.corpora.arrow_vectors import SUFFIXES as ARROW_SUFFIXES
from lsr.corpora.arrow_vectors import ArrowVectorsCorpus, holds_vector_columns
from lsr.corpora.corpus import Corpus, JoinedCorpus
from lsr.corpora.csv_file import CsvCorpus
from lsr.corpora.fields import USUAL, Fields
from lsr.corpora.ir_dataset import PREFIX as IR_DATASETS
from lsr.corpora.ir_dataset import IrDatasetsCorpus
from lsr.corpora.jsonl import JsonlCorpus
from lsr.corpora.line_source import LineSource
from lsr.corpora.matrix_files import SUFFIXES as MATRIX_SUFFIXES
from lsr.corpora.matrix_files import MatrixCorpus
from lsr.corpora.passages import PassageCorpus
from lsr.corpora.tsv import TsvCorpus
from lsr.corpora.vectors import VectorLinesCorpus
from lsr.errors import CorpusUnreadable
from lsr.input_file import STDIN, InputFile, open_input, shown_name

FORMATS: Final = ("auto", "beir", "jsonl", "tsv", "csv", "parquet", "arrow", "vectors")

PARQUET_SUFFIX: Final = ".parquet"

_BY_SUFFIX: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".tsv": "tsv",
    ".csv": "csv",
    PARQUET_SUFFIX: "parquet",
    **dict.fromkeys(MATRIX_SUFFIXES, "vectors"),
    **dict.fromkeys(ARROW_SUFFIXES, "arrow"),
}
_NEVER_COMPRESSED: Final = (PARQUET_SUFFIX, *MATRIX_SUFFIXES, *ARROW_SUFFIXES)
_COMPRESSED: Final = (".gz", ".zst")


def open_corpus(
    spec: str,
    format: str = "auto",  # noqa: A002
    *,
    chunk: int | None = None,
    fields: Fields = USUAL,
) -> Corpus:
    """Return the corpus that `spec` names: a path, `-` for standard input, or `ir-datasets:ID`.

    format  one of FORMATS; `auto`: by the file name (what can be read only once: JSON lines)
    chunk   cuts texts into passages of at most that many words
    fields  which fields of objects and tables make a document

    What can be read only once (a pipe, standard input) is copied first. Raises CorpusUnreadable, which says what is
    missing or unknown; ValueError for an unknown format or `chunk` < 1.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")
    corpus = _open(spec, format, fields)
    return PassageCorpus(corpus, chunk) if chunk is not None else corpus


def holds_vectors(spec: str, format: str = "auto") -> bool:  # noqa: A002
    """Return whether a file's name, or the format, is that of ready-made vectors."""
    return format == "vectors" or (format == "auto" and Path(spec).suffix in (*MATRIX_SUFFIXES, *ARROW_SUFFIXES))


def brings_vectors(corpus: Corpus) -> bool:
    """Return whether an open corpus is one of ready-made vectors."""
    if isinstance(corpus, PassageCorpus):
        corpus = corpus.inner
    if isinstance(corpus, JoinedCorpus):
        corpus = corpus.parts[0]
    return isinstance(corpus, (MatrixCorpus, ArrowVectorsCorpus, VectorLinesCorpus))


def has_text_cells(corpus: Corpus) -> bool:
    """Return whether the metadata of an open corpus are text cells, which a schema's types turn into values."""
    if isinstance(corpus, PassageCorpus):
        corpus = corpus.inner
    return isinstance(corpus, (TsvCorpus, CsvCorpus))


def _open(spec: str, format_name: str, fields: Fields) -> Corpus:
    if spec.startswith(IR_DATASETS):
        _refuse_fields(spec, fields)
        return IrDatasetsCorpus(spec)
    path = Path(spec)
    if spec != STDIN and not path.exists():
        raise CorpusUnreadable(f"{spec}: no such file or folder")
    if spec != STDIN and (path.is_dir() or format_name == "beir"):
        return _open_folder(spec, path, format_name, fields)
    file = open_input(spec)
    if format_name == "auto":
        format_name = _format_by_name(path, file)
    if format_name in ("vectors", "arrow") and path.suffix in MATRIX_SUFFIXES:
        _refuse_fields(spec, fields)
        return MatrixCorpus(spec, file)
    if format_name == "vectors" and path.suffix in (*ARROW_SUFFIXES, PARQUET_SUFFIX):
        _refuse_fields(spec, fields)
        return ArrowVectorsCorpus(spec, [file])
    if format_name in ("arrow", "parquet"):
        return _open_tables(spec, [file], fields)
    return _open_lines(spec, LineSource(file), format_name, fields)


def _open_lines(spec: str, source: LineSource, format_name: str, fields: Fields) -> Corpus:
    if format_name == "jsonl":
        return JsonlCorpus(spec, source, fields)
    if format_name == "tsv":
        return TsvCorpus(spec, source, fields)
    if format_name == "csv":
        return CsvCorpus(spec, source, fields)
    if format_name == "vectors":
        _refuse_fields(spec, fields)
        return VectorLinesCorpus(spec, source)
    raise CorpusUnreadable(f"{shown_name(spec)}: the format {format_name} is that of a folder, not of a file")


def _open_folder(spec: str, path: Path, format_name: str, fields: Fields) -> Corpus:
    if not path.is_dir():
        raise CorpusUnreadable(f"{path}: a BEIR corpus is a folder that contains corpus.jsonl")
    if format_name in ("auto", "arrow"):
        from lsr.corpora.tables import is_saved_dataset, saved_dataset_files

        if is_saved_dataset(path):
            return _open_tables(spec, saved_dataset_files(path), fields)
    if format_name == "vectors" and (lines := _vector_shards(path)):
        _refuse_fields(spec, fields)
        return JoinedCorpus(spec, [VectorLinesCorpus(str(shard), LineSource(shard)) for shard in lines])
    shards = sorted(path.glob("*.parquet"))
    if shards and (format_name == "parquet" or (format_name == "auto" and _beir_corpus(path) is None)):
        return _open_tables(spec, [open_input(shard) for shard in shards], fields)
    found = _beir_corpus(path)
    if found is None:
        raise CorpusUnreadable(
            f"{path}: this folder has no corpus.jsonl (nor .gz or .zst), no Parquet files, and is not a data set saved "
            "by the package datasets"
        )
    return JsonlCorpus(spec, LineSource(found), fields)


def _open_tables(spec: str, files: list[InputFile], fields: Fields) -> Corpus:
    from lsr.corpora.tables import TableCorpus

    # A Parquet file whose columns are chosen is a table, whatever its other columns are called.
    may_be_table = fields.chosen and Path(spec).suffix not in ARROW_SUFFIXES
    if files and not may_be_table and holds_vector_columns(files[0]):
        _refuse_fields(spec, fields)
        return ArrowVectorsCorpus(spec, files)

    return TableCorpus(spec, files, fields)


def _refuse_fields(spec: str, fields: Fields) -> None:
    if fields.chosen:
        raise CorpusUnreadable(
            f"{spec}: its documents have their fields already; leave out --id, --title, --text, --metadata"
        )


def _vector_shards(folder: Path) -> list[Path]:
    """Return the files of JSON lines of a folder, as Pyserini's JsonVectorCollection has them, by name."""
    suffixes = tuple(end + packed for end in (".jsonl", ".json") for packed in ("", *_COMPRESSED))
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(suffixes))


def _beir_corpus(folder: Path) -> Path | None:
    for suffix in ("", *_COMPRESSED):
        path = folder / f"corpus.jsonl{suffix}"
        if path.exists():
            return path
    return None


def _format_by_name(path: Path, file: InputFile) -> str:
    name = path.name.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    suffix = Path(name).suffix
    if suffix in _NEVER_COMPRESSED and name != path.name.lower():
        raise CorpusUnreadable(f"{path}: decompress it first; {suffix} files cannot be streamed")
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if file.copied or path.parts[:2] in (("/", "dev"), ("/", "proc")):  # a stream has no name
        return "jsonl"
    raise CorpusUnreadable(
        f"{path}: the name does not show the format; give --format jsonl, tsv, csv, parquet, arrow or vectors"
    )
