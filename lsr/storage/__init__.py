"""A collection's files: the catalog (SQLite), the immutable segments, and a reader's view of both.

    catalog.py        catalog.sqlite: settings, term dictionaries, segments, deletions, pending documents
    catalog_digest.py catalog.sha256: the hash of a closed catalog
    document_file.py  documents.arrow: texts and metadata columns of a segment
    id_file.py        ids.npy: external id -> row
    segment.py        one segment's folder: written once, then only read
    pending.py        the documents that are committed but not sealed, in memory
    generation.py     a reader's view: segments, deletions and pending documents after one change
    files.py          durable writes, checksums, the writer's lock

docs/format.md describes every byte of the files.
"""
