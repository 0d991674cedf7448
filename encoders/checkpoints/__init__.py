"""The layouts of published checkpoints, one file each, and how a checkpoint becomes an encoder (opening.py)."""
