"""Several machines: building shards with Ray's actors, and serving them with Ray Serve. Ray is imported only here."""
