"""The parts of `lsr bench`: what can be measured (this index, a collection, peers), the sweep, and the report.

targets.py opens what is asked for; sweep.py measures it; report.py prints and draws. One file for each peer.
"""
