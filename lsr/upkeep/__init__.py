"""Maintenance of a collection: sealing, merging, scrubbing, verification, snapshots."""
