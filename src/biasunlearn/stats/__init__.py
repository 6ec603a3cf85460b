"""Numbers in, numbers out: bootstrap intervals, paired tests, StereoSet's SS, LMS and ICAT, angles between subspaces.

A function belongs here if it needs nothing but arrays and records of scores.
Never in this package: torch, a file, a model.
"""
