"""The run folder on disk: atomic writes, the lock, the cache of scores, costs, provenance.

A function belongs here if it stores or loads what a run produces.
Never in this package: a model, a formula, a table for a reader.
"""
