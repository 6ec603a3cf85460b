"""What a person reads: HTML pages, charts, the model card, terminal tables.

A function belongs here if it turns finished results into text or pictures.
Never in this package: a model, training, a statistic that is not already in the results.
"""
