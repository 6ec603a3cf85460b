"""One file per command, named as the command: reads the request, calls the packages below, stores the run.

A function belongs here if it puts the steps of one command in order.
Never in this package: a formula, a file format, HTML.
"""
