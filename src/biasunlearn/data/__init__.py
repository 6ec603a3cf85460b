"""From files to records: readers, checks, splits by target term, counterfactual sentences, term lists, the toy world.

A function belongs here if it reads or rewrites examples and no model is needed.
Never in this package: torch when a module is imported, scores of a model.
"""
