"""From vectors to the arrays of an index."""
