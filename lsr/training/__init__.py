"""From data to a trained encoder: configuration, pairs, mined negatives, teachers' scores, and the run itself.

The model and the loop are in encoders.training; `lsr train` is lsr.cli.train.
"""
