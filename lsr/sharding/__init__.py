"""A collection in shards, each an ordinary collection folder: what goes where, and how all are searched as one."""
