"""Documents and their sparse vectors on the way out, in the formats that other systems read.

    jsonl         ours, one document a line; `lsr index --format vectors` takes it back
    arrow         the same as an Arrow IPC file, with a note about the encoder
    anserini      JSON vectors with integer weights (JsonVectorCollection, -impact -pretokenized)
    ciff          Common Index File Format: the whole inverted index in one file
    opensearch    _bulk body; the vector becomes a rank_features or sparse_vector field
    qdrant        bodies of PUT /collections/{name}/points, one a line

`write_vectors` is the way in; each format has a file of its own.
"""

from lsr.exchange.export import FORMATS, write_vectors
from lsr.exchange.rows import DenseNote, VectorRow, VectorSource

__all__ = ["FORMATS", "DenseNote", "VectorRow", "VectorSource", "write_vectors"]
