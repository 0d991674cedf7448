"""The parts of `lsr bench`: the targets (this index, a collection, peers) and the sweep.

targets.py opens the targets; sweep.py measures them; lsr/cli/bench.py prints and draws. One file for each peer.
"""
