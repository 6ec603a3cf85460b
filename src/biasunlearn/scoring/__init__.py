"""The outputs of a model: log-probabilities, generated text, embeddings, classifier labels, and the bridge to lm-eval.

Every benchmark and the stop rule score through this package, so that a number means the same everywhere.
Never in this package: the file format of a benchmark, training.
"""
