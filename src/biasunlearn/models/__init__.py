"""Models: loading, adapters, and one forward pass (packing, shared prefixes, output layer, quantization, processes).

A function belongs here if it changes how a model is loaded or how its log-probabilities are computed.
Never in this package: a benchmark, a loss, a training decision.
"""
