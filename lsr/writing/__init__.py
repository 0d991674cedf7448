"""How a document gets in: checked, its vectors settled, written to the catalog or loaded in bulk."""
