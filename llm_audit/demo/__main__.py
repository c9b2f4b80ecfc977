"""Runs the demo: `python -m llm_audit.demo`; KEEP=1 leaves the servers up until Ctrl-C."""

import sys


def main() -> int:
    """Run the demo, if what it needs is installed.

    Returns:
        The exit code.
    """
    try:
        from llm_audit.demo import show
    except ModuleNotFoundError as error:
        extras = "pip install 'llm-audit[celery,cli,embedded,openai]'"
        print(f"The demo needs {error.name}, from {extras}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return show.main()


if __name__ == "__main__":
    sys.exit(main())
