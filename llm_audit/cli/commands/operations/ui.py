"""`llm-audit ui`: the calls in a browser."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from llm_audit.cli.exits import say
from llm_audit.errors import UsageError
from llm_audit.settings import get_settings


def ui(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where it listens; others than this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 for any that is free.")] = 8765,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Holds the token that opens it, instead of a new one."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name that it answers to, too.")
    ] = None,
    allow_frame: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="May show pages in a frame: https://grafana.example."),
    ] = None,
    *,
    behind_proxy: Annotated[
        bool,
        typer.Option("--behind-proxy", help="A proxy in front asks who it is; or --token-file."),
    ] = False,
    root_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where a proxy in front has it: /llm, say.")
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Take scores and tags; that writes to MongoDB.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show calls, traces, tasks, costs and failures in a browser.

    The address that it prints holds a token, which whoever opens it needs once. It only reads
    unless --annotate says otherwise: a MongoDB user with the role `read` on the database will do.
    """
    try:
        from llm_audit.web.serving import Serving, serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The viewer needs an extra ({error.name} is missing): pip install 'llm-audit[web]'."
        ) from None
    serving = Serving(
        host=host,
        port=port,
        token_file=token_file,
        allowed_hosts=allowed_host or (),
        behind_proxy=behind_proxy,
        root_path=root_path or "",
        frames=allow_frame or (),
        annotate=annotate,
    )

    def tell(address: str) -> None:
        print(address, flush=True)
        if sys.stderr.isatty():
            say(f"shows {get_settings().target_name('thread')}. Ctrl-C ends it.")

    serve(serving, tell, browse=open_it)
