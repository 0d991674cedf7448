"""Documents and their sparse vectors to and from other systems; servers/ reads their collections.

    jsonl         our own, one document per line; `lsr index --format vectors` reads it
    arrow         the same as an Arrow IPC file, which also records the encoder
    parquet       the same as a Parquet file
    huggingface   the same as a folder that `datasets.load_from_disk` reads
    anserini      JSON vectors with integer weights (JsonVectorCollection, -impact -pretokenized)
    ciff          Common Index File Format: the whole inverted index in one file
    opensearch    _bulk body; the vector becomes a rank_features or sparse_vector field
    qdrant        bodies of PUT /collections/{name}/points, one per line
    milvus        entities, one per line

`write_vectors` writes all of them.
"""

from lsr.exchange.export import FORMATS, write_vectors
from lsr.exchange.rows import DenseNote, VectorRow, VectorSource

__all__ = ["FORMATS", "DenseNote", "VectorRow", "VectorSource", "write_vectors"]
