"""Runs the command line: `python -m llm_audit.cli`."""

import sys

from llm_audit.cli import main

if __name__ == "__main__":
    sys.exit(main())
