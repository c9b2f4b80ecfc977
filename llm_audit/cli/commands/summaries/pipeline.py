"""`llm-audit pipeline`: a query as text, for mongosh, Compass or another program."""

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_origin

import typer
from rich.text import Text

from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json
from llm_audit.cli.options import described, filtered
from llm_audit.display import figures
from llm_audit.errors import UsageError
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters
from llm_audit.settings import get_settings


def published() -> dict[str, Callable[..., pipelines.Pipeline]]:
    """Return every pipeline by its name in the shell."""
    return {
        name.replace("_", "-"): function
        for name, function in vars(pipelines).items()
        if inspect.isfunction(function)
        and function.__module__.startswith(pipelines.__name__)
        and not name.startswith("_")
    }


def _own(function: Callable[..., pipelines.Pipeline]) -> list[inspect.Parameter]:
    """Return what a pipeline takes beside filters; a switch follows the setting of its name."""
    parameters = inspect.signature(function).parameters.values()
    return [
        each
        for each in parameters
        if each.kind is not inspect.Parameter.VAR_KEYWORD and each.annotation is not bool
    ]


def _taken() -> str:
    """Say what each pipeline takes; in brackets what it can do without."""
    usages = []
    for name, function in published().items():
        words = [
            f"{each.name}..."
            if get_origin(each.annotation) is Sequence
            else each.name
            if each.default is inspect.Parameter.empty
            else f"({each.name})"
            for each in _own(function)
        ]
        usages += [" ".join([name, *words])] if words else []
    return "; ".join(usages)


def _names(incomplete: str) -> list[str]:
    return [name for name in published() if name.startswith(incomplete)]


@filtered(leave_out=("prompt_of",))
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
            help=f"What it takes before the filters: {_taken()}.",
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
        # a name after a dot might be one of mongosh's own, such as db.stats
        where = f"db.getCollection({json.dumps(get_settings().collection)})"
        print(f"{where}.aggregate({json.dumps(stages)})")
    else:
        print(json.dumps(stages, indent=None if as_json else 2))


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
    returned = figures.counted(explanation.returned, "row")
    found_by = [Text(f"index {index}", "green") for index in explanation.indexes]
    if explanation.reads_all:
        found_by.append(Text("no index: every call is read", terminal.FAILURE))
    table = terminal.table("", "", show_header=False)
    for what, value in (
        ("found by", Text("\n").join(found_by) if found_by else Text("nothing is there")),
        ("keys", f"{explanation.keys_examined:,} examined"),
        ("documents", f"{explanation.documents_examined:,} examined"),
        ("answer", f"{returned} in {explanation.milliseconds:,} ms"),
    ):
        table.add_row(Text(what, "dim"), value)
    console.print(table)


def _stages(
    function: Callable[..., pipelines.Pipeline], name: str, arguments: list[str], filters: Any
) -> pipelines.Pipeline:
    parameters = inspect.signature(function).parameters
    own = _own(function)
    takes_all = bool(own) and get_origin(own[-1].annotation) is Sequence
    needed = [each.name for each in own if each.default is inspect.Parameter.empty]
    if not len(needed) <= len(arguments) or (len(arguments) > len(own) and not takes_all):
        takes = ", ".join(each.name for each in own) or "no arguments"
        given = figures.counted(len(arguments), "argument")
        raise UsageError(f"{name} takes {takes}, not {given}.")
    takes_filters = any(e.kind is inspect.Parameter.VAR_KEYWORD for e in parameters.values())
    if filters and not takes_filters:
        raise UsageError(f"{name} takes no filters.")
    named: dict[str, Any] = {
        each.name: _read(each, given) for each, given in zip(own, arguments, strict=False)
    }
    if takes_all:
        named[own[-1].name] = arguments[len(own) - 1 :]
    if "text_index" in parameters:
        named["text_index"] = get_settings().text_index
    return function(**named, **filters)


def _read(parameter: inspect.Parameter, given: str) -> str | int:
    """Return an argument as its parameter takes it."""
    if int not in get_args(parameter.annotation) or str in get_args(parameter.annotation):
        return given  # ids may be int, and are text in any case
    try:
        return int(given)
    except ValueError:
        raise UsageError(f"{parameter.name} has to be a whole number, not {given!r:.50}.") from None
