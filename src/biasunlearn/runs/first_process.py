"""Which of several processes writes and prints. No other import: the command line asks before every line it prints."""

import os


def is_first() -> bool:
    """Whether this is the process that writes and prints. The others only compute. Launchers set RANK."""
    return os.environ.get("RANK", "0") == "0"
