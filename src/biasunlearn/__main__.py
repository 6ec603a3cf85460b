"""`python -m biasunlearn` is the command."""

import sys

from biasunlearn.cli import main

if __name__ == "__main__":
    sys.exit(main())
