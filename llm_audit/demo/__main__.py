"""Runs the demo: `python -m llm_audit.demo`; KEEP=1 leaves the servers up until Ctrl-C."""

import importlib.util
import signal
import sys

NEEDED = ("celery", "openai", "rich", "typer")


def main() -> int:
    """Run the demo, if what it needs is installed.

    Returns:
        The exit code.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        extras = "pip install 'llm-audit[celery,cli,embedded,openai]'"
        print(f"The demo needs {', '.join(missing)}: {extras}", file=sys.stderr)
        return 1
    try:
        from llm_audit.demo import run

        return run.main()
    except KeyboardInterrupt:  # while importing, when there is nothing yet to clean up
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
