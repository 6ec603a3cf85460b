"""Benchmarks by name: a plain dict. Each module's `run` takes a loaded model and a path, and returns a Result."""

from . import perplexity, stereoset

BENCHMARKS = {"stereoset": stereoset.run, "perplexity": perplexity.run}
