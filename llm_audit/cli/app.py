"""The commands of `llm-audit`, by name, and the options that stand before them."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llm_audit import __version__
from llm_audit.cli.commands.calls import lists, search, session, show, trace
from llm_audit.cli.commands.operations import (
    agent,
    config,
    demo,
    doctor,
    indexes,
    reprice,
    spool,
    ui,
    views,
)
from llm_audit.cli.commands.summaries import groups, pipeline, prompts, retries, scores, usage
from llm_audit.cli.exits import NAME
from llm_audit.cli.files import exporting, importing
from llm_audit.errors import ConfigurationError
from llm_audit.settings import configure

ASKS_FOR_HELP = "llm_audit.asks_for_help"

_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Calls": {
        "calls": lists.calls,
        "show": show.show,
        "trace": trace.trace,
        "session": session.session,
        "task": lists.task,
        "search": search.search,
    },
    "Summaries": {
        "failures": groups.failures,
        "tools": groups.tools,
        "costs": groups.costs,
        "latency": groups.latency,
        "prompts": prompts.prompts,
        "usage": usage.usage,
        "retries": retries.retries,
        "scores": scores.scores,
        "pipeline": pipeline.pipeline,
    },
    "In and out": {"export": exporting.export, "import": importing.import_calls},
    "Operations": {
        "agent": agent.agent,
        "ui": ui.ui,
        "doctor": doctor.doctor,
        "indexes": indexes.indexes,
        "reprice": reprice.reprice,
        "config": config.config,
        "demo": demo.demo,
    },
}


def _filled(command: Callable[..., object] | None) -> str:
    """Return a command's docstring with a line for each paragraph: typer keeps line breaks."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


class Commands(TyperGroup):
    """The commands, which know whether only the help of one of them is wanted."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look for --help before the arguments are taken apart."""
        ctx.meta[ASKS_FOR_HELP] = "--help" in args
        return super().parse_args(ctx, args)


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
for panel, commands in _COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(spool.app, name="spool", rich_help_panel="Operations")
app.add_typer(views.app, name="views", rich_help_panel="Operations")

for group in (app, spool.app, views.app):
    for registered in group.registered_commands:
        registered.help = _filled(registered.callback)


def _show(version: bool) -> None:  # noqa: FBT001  (typer calls it)
    if version:
        print(NAME, __version__)
        raise typer.Exit


@app.callback()
def llm_audit(
    context: typer.Context,
    mongo_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Any MongoDB connection string.")
    ] = None,
    database: Annotated[str | None, typer.Option(metavar="NAME", help="Of the calls.")] = None,
    collection: Annotated[str | None, typer.Option(metavar="NAME", help="Of the calls.")] = None,
    version: Annotated[  # noqa: ARG001, FBT002  (its callback ends the program)
        bool, typer.Option("--version", help="Show the version.", callback=_show, is_eager=True)
    ] = False,
) -> None:
    """Ask what LLM calls were made: by whom, with which answers, tools, costs and failures.

    Where the calls are say the same settings as in your app: LLM_AUDIT_MONGO_URL,
    LLM_AUDIT_DATABASE and LLM_AUDIT_COLLECTION, unless these options do.
    """
    given = {"mongo_url": mongo_url, "database": database, "collection": collection}
    context.obj = {name: value for name, value in given.items() if value is not None}
    try:
        configure(strict=True, **context.obj)
    except ConfigurationError:
        if not context.meta[ASKS_FOR_HELP]:  # which is also where the fix can be read
            raise
