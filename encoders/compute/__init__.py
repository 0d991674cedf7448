"""What runs when a model really reads text: torch, batches, products, rows. Table look-ups do not import it."""
