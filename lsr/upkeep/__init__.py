"""What keeps a collection healthy: sealing, merging, scrubbing, verification, snapshots."""
