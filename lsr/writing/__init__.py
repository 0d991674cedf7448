"""Writing documents: check them, assign their vectors, write them to the catalog or load them in bulk."""
