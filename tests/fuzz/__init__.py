"""Mutated inputs for every reader: `python -m tests.fuzz --minutes 60`, and a short run of fixed seeds in the tests.

inputs.py     sound files of every kind, from which the mutated ones are made
mutations.py  what is changed, and for which changes a file may still be accepted, and why
running.py    one input through the command line: refused, accepted, broke (exit code 3, a traceback) or hung
"""
