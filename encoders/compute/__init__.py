"""The computation of models: torch, batches, products, rows. Looking a query up in a table does not import it."""
