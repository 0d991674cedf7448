"""The arrays of an index: in memory, in a folder, checked when they are opened."""
