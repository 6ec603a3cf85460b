"""Debiasing by unlearning: sets, losses, objectives, swap and stop rules, sampler, checkpoints, and the training loop.

A function belongs here if it decides what is trained, on what, or for how long; other methods are in `methods`.
Never in this package: a benchmark, a report, the layout of a run folder.
"""
