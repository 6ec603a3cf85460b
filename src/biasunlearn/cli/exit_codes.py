"""What a command's exit code means."""

DONE = 0
REFUSED = 1
"""The command ran, and the answer is no."""
WRONG_REQUEST = 2
"""One line on stderr says what is wrong, where, and how to fix it."""
BROKE = 3
INTERRUPTED = 130
