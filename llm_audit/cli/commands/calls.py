"""`llm-audit calls` and `llm-audit task`: lists of calls, also as they come in."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.cli.commands.watching import Watch, news_forever
from llm_audit.cli.connection import collection_of_calls, find_call, not_found
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.call_table import CallTable
from llm_audit.cli.drawing.json_lines import print_json_rows
from llm_audit.cli.options import LIMIT_MAX, AsJson, described, filtered
from llm_audit.errors import UsageError
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters, condition

if TYPE_CHECKING:
    from llm_audit.cli.connection import Documents

# Without what was said: a page of bodies would be megabytes.
SHOWN = (
    *("status", "call_type", "provider", "model", "created_at", "completed_at", "latency_ms"),
    *("total_tokens", "estimated_cost", "trace_id", "session_id", "user_id", "company_id"),
    *("task_id", "task", "tags", "tools_called", "error_type", "ended_by"),
)


@filtered()
def calls(
    *,
    filters: CallFilters,
    limit: Annotated[
        int,
        typer.Option(
            min=0, max=LIMIT_MAX, help="How many at the most; with --watch, of those before."
        ),
    ] = 20,
    after: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only calls older than this one; its beginning will do."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show calls as they come in, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List calls, newest first.

    `show` takes an id as it is printed here, shortened. The next page: --after and the last id.

    --watch begins with the last calls, none with --limit 0, and shows each that comes in, and again
    when it ends. One that comes in more than a minute late, from a journal say, it does not see.
    """
    if watch and (after or filters.get("end_date")):
        raise UsageError("--watch shows what comes in: leave out --after and --until.")
    if not watch and not limit:
        raise UsageError("--limit 0 shows nothing: it is for --watch.")
    with collection_of_calls() as collection:
        if watch:
            _watch(collection, filters, limit, as_json=as_json)
        else:
            _list(collection, filters, limit, after, as_json=as_json)


def task(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Celery's id of the task.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the calls that a Celery task made, in all its attempts, oldest first."""
    with collection_of_calls() as collection:
        stages = [*pipelines.calls_by_task(task_id), {"$project": dict.fromkeys(SHOWN, 1)}]
        found = list(collection.aggregate(stages))
        if not found:
            raise not_found(collection, "task", "task_id", task_id)
    if as_json:
        print_json_rows(found)
        return
    console = terminal.console()
    name = terminal.cell((found[0].get("task") or {}).get("name"))
    console.print(terminal.heading(name, terminal.cell(task_id)))
    table = CallTable(console, [call["_id"] for call in found])
    table.print([], header=True)
    attempt: object = None
    for number, call in enumerate(found):
        ran = call.get("task") or {}
        if number == 0 or (ran.get("retries"), ran.get("attempt_id")) != attempt:
            attempt = (ran.get("retries"), ran.get("attempt_id"))
            console.print(_attempt(ran))
        table.print([call])


def print_next_page(console: Console, call_id: str) -> None:
    """Say how to go on after the last call of a page."""
    after = shlex.quote(terminal.cell(call_id))
    console.print(f"The next ones: --after {after}", style="dim", soft_wrap=True)


def with_whole_parents(collection: "Documents", filters: CallFilters) -> CallFilters:
    """Return filters with the whole id of each parent of which the beginning was given.

    Raises:
        NotFoundError: No call names such a parent, and there is none, or there are several.
    """
    given = filters.get("parent_call_id")
    if not given:
        return filters
    parents = [str(one) for one in given] if isinstance(given, list) else [str(given)]
    return {**filters, "parent_call_id": [_whole_parent(collection, one) for one in parents]}


def _whole_parent(collection: "Documents", given: str) -> str:
    if collection.find_one({"parent_call_id": given}, ["_id"]):
        return given  # which need not have been recorded itself
    return str(find_call(collection, given)["_id"])


def _list(
    collection: "Documents", filters: CallFilters, limit: int, after: str | None, *, as_json: bool
) -> None:
    last = None if after is None else find_call(collection, after)["_id"]
    wanted = condition(with_whole_parents(collection, filters), after=last)
    found = list(collection.find(wanted, SHOWN).sort("_id", -1).limit(limit))
    if as_json:
        print_json_rows(found)
        return
    console = terminal.console()
    if not found:
        console.print(f"No calls ({terminal.cell(described(filters))}).", style="dim")
        return
    CallTable(console, [call["_id"] for call in found]).print(found, header=True)
    if len(found) == limit:
        print_next_page(console, found[-1]["_id"])


def _watch(collection: "Documents", filters: CallFilters, limit: int, *, as_json: bool) -> None:
    watch = Watch(collection, filters, SHOWN)
    newest = collection.find(condition(filters), SHOWN).sort("_id", -1).limit(limit)
    before = list(newest)[::-1] if limit else []  # to MongoDB, 0 is no limit
    watch.note(before)
    table = CallTable(terminal.console())
    if as_json:
        print_json_rows(before)
    else:
        table.print(before, header=True)
    for found in news_forever(watch):
        if as_json:
            print_json_rows(found)
        elif found:
            table.print(found)


def _attempt(ran: Mapping[str, Any]) -> Text:
    retries = ran.get("retries")
    attempt = f"attempt {retries + 1}" if isinstance(retries, int) else "attempt"
    worker = f"{terminal.cell(ran.get('worker'))}, pid {terminal.cell(ran.get('pid'))}"
    redelivered = ", redelivered" if ran.get("redelivered") else ""
    return Text.assemble(attempt, (f"  {worker}{redelivered}", "dim"))
