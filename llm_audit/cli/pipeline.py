"""`llm-audit pipeline`: a query as text, for mongosh, Compass or another program."""

import inspect
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.text import Text

from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.json_lines import print_json, print_line
from llm_audit.cli.options import described, filtered
from llm_audit.errors import UsageError
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
from llm_audit.settings import get_settings

_DOT_NAME = re.compile(r"[A-Za-z_]\w*")


def published() -> dict[str, Callable[..., pipelines.Pipeline]]:
    """Return every pipeline by its name in the shell."""
    return {
        name.replace("_", "-"): function
        for name, function in vars(pipelines).items()
        if inspect.isfunction(function)
        and function.__module__.startswith(pipelines.__name__)
        and not name.startswith("_")
    }


def _names(incomplete: str) -> list[str]:
    return [name for name in published() if name.startswith(incomplete)]


@filtered()
def pipeline(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help=f"One of {', '.join(published())}.", autocompletion=_names
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARGUMENT]...",
            help="What it takes before the filters: the id of calls-by-trace, the field that "
            "cost-summary groups by.",
        ),
    ] = None,
    *,
    filters: CallFilters,
    mongosh: Annotated[
        bool, typer.Option("--mongosh", help="As a line to paste into mongosh.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Run it, and say which index serves it and how much MongoDB reads."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="In one line, for machines.")] = False,
) -> None:
    """Print a query's aggregation pipeline, as JSON; MongoDB is asked only to explain it."""
    if mongosh and explain:
        raise UsageError("--mongosh prints the pipeline, --explain what becomes of it: give one.")
    function = published().get(name.replace("_", "-"))
    if function is None:
        raise UsageError(f"There is no pipeline {name!r:.50}: {', '.join(published())}.")
    stages = _stages(function, name, arguments or [], filters)
    if explain:
        _explain(" ".join([name, *(arguments or [])]), stages, filters, as_json=as_json)
    elif mongosh:
        collection = get_settings().collection
        dotted = _DOT_NAME.fullmatch(collection)
        where = collection if dotted else f"getCollection({json.dumps(collection)})"
        print_line(f"db.{where}.aggregate({json.dumps(stages)})")
    else:
        print_line(json.dumps(stages, indent=None if as_json else 2))


def _explain(
    title: str, stages: pipelines.Pipeline, filters: CallFilters, *, as_json: bool
) -> None:
    from llm_audit.diagnosis.explain import explain

    with collection_of_calls() as collection:
        explanation = explain(collection, stages)
    if as_json:
        print_json(explanation)
        return
    console = terminal.console()
    console.print(terminal.heading(title, described(filters) if filters else ""))
    found_by = [Text(f"index {index}", "green") for index in explanation.indexes]
    if explanation.reads_all:
        found_by.append(Text("no index: every call is read", terminal.FAILURE))
    table = terminal.table("", "", show_header=False)
    for what, value in (
        ("found by", Text("\n").join(found_by) if found_by else Text("nothing is there")),
        ("keys", f"{explanation.keys_examined:,} examined"),
        ("documents", f"{explanation.documents_examined:,} examined"),
        ("answer", f"{explanation.returned:,} rows in {explanation.milliseconds:,} ms"),
    ):
        table.add_row(Text(what, "dim"), value)
    console.print(table)


def _stages(
    function: Callable[..., pipelines.Pipeline], name: str, arguments: list[str], filters: Any
) -> pipelines.Pipeline:
    parameters = inspect.signature(function).parameters.values()
    own = [each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
    needed = [each.name for each in own if each.default is inspect.Parameter.empty]
    if not len(needed) <= len(arguments) <= len(own):
        takes = ", ".join(each.name for each in own) or "no arguments"
        raise UsageError(f"{name} takes {takes}, not {len(arguments)} arguments.")
    if filters and len(own) == len(parameters):
        raise UsageError(f"{name} takes no filters.")
    named = dict(zip((each.name for each in own), arguments, strict=False))
    return function(**named, **filters)
