"""`llm-audit demo`: the same as `make demo`."""

import os
from typing import Annotated

import typer

from llm_audit.errors import UsageError


def demo(
    context: typer.Context,
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the servers up, until Ctrl-C.")
    ] = False,
) -> None:
    """See it work: real servers, a Celery worker, a stand-in for the provider, failures."""
    for name in ("database", "collection"):
        if name in context.obj:
            raise UsageError(f"--{name} is not for the demo, which has its own: leave it out.")
    from llm_audit.demo.__main__ import main

    if mongo_url := context.obj.get("mongo_url"):
        os.environ["LLM_AUDIT_MONGO_URL"] = mongo_url  # as of any other process of the demo
    if keep:
        os.environ["KEEP"] = "1"
    raise typer.Exit(main())
