"""`llm-audit calls` and `llm-audit task`: lists of calls, also as they come in."""

import shlex
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.call import TaskFields
from llm_audit.cli.connection import find_call, not_found, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.call_table import CallTable
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.exits import say
from llm_audit.cli.options import AsJson, described, filtered
from llm_audit.display import figures
from llm_audit.errors import UnavailableError, UsageError
from llm_audit.queries.filters import LIMIT_MAX, CallFilters
from llm_audit.queries.lookup import with_instructions
from llm_audit.queries.pipelines import Pipeline

if TYPE_CHECKING:
    from llm_audit.documents import LLMCall
    from llm_audit.queries.repository import SyncLLMCallRepository
    from llm_audit.queries.steps import Steps
    from llm_audit.queries.watch import Watch

POLL_SECONDS = 1.0


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
    with repository() as questions:
        if watch:
            _watch(questions, filters, limit, as_json=as_json)
        else:
            _list(questions, filters, limit, after, as_json=as_json)


def task(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="Celery's id of the task.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the calls that a Celery task made, in all its attempts, oldest first."""
    with repository() as questions:
        found = questions.get_calls_by_task(task_id, with_content=False)
        if not found:
            raise questions.ask(not_found("task_id", task_id))
    if as_json:
        print_json_rows(found)
        return
    console = terminal.console()
    name = figures.cell(found[0].task and found[0].task.name)
    console.print(terminal.heading(name, figures.cell(task_id)))
    table = CallTable(console, [call.id for call in found])
    table.print([], header=True)
    attempt: object = None
    for number, call in enumerate(found):
        ran = call.task or TaskFields()
        if number == 0 or (ran.retries, ran.attempt_id) != attempt:
            attempt = (ran.retries, ran.attempt_id)
            console.print(_attempt(ran))
        table.print([call])


def print_next_page(console: Console, call_id: str) -> None:
    """Say how to go on after the last call of a page."""
    after = shlex.quote(figures.cell(call_id))
    console.print(f"The next ones: --after {after}", style="dim", soft_wrap=True)


def with_whole_parents(filters: CallFilters) -> "Steps[CallFilters]":
    """Return filters with the whole id of each parent of which the beginning was given.

    What `prompt_of` names is looked up as well.

    Raises:
        NotFoundError: No call names such a parent, and there is none, or there are several.
    """
    filters = cast("CallFilters", (yield from with_instructions(filters)))
    given = filters.get("parent_call_id")
    if not given:
        return filters
    whole = []
    for parent in given if isinstance(given, list) else [given]:
        whole.append((yield from _whole_parent(str(parent))))  # noqa: PERF401  (it yields)
    return {**filters, "parent_call_id": whole}


def _whole_parent(given: str) -> "Steps[str]":
    from llm_audit.queries.steps import rows

    named: Pipeline = [
        {"$match": {"parent_call_id": given}},
        {"$limit": 1},
        {"$project": {"_id": 1}},
    ]
    if (yield from rows(named, dict)):
        return given  # which need not have been recorded itself
    return str((yield from find_call(given))["_id"])


def _list(
    questions: "SyncLLMCallRepository",
    filters: CallFilters,
    limit: int,
    after: str | None,
    *,
    as_json: bool,
) -> None:
    last = None if after is None else questions.ask(find_call(after))["_id"]
    wanted = questions.ask(with_whole_parents(filters))
    found = questions.list_by_filters(limit=limit, after=last, with_content=False, **wanted)
    if as_json:
        print_json_rows(found)
        return
    console = terminal.console()
    if not found:
        console.print(f"No calls ({figures.cell(described(filters))}).", style="dim")
        return
    CallTable(console, [call.id for call in found]).print(found, header=True)
    if len(found) == limit:
        print_next_page(console, found[-1].id)


def _watch(
    questions: "SyncLLMCallRepository", filters: CallFilters, limit: int, *, as_json: bool
) -> None:
    from llm_audit.queries.watch import Watch

    filters = questions.ask(with_whole_parents(filters))
    watch = questions.ask(Watch.begin(filters))
    before = questions.list_by_filters(limit=limit or 1, with_content=False, **filters)[::-1]
    before = before if limit else []
    watch.note(before)
    table = CallTable(terminal.console())
    if as_json:
        print_json_rows(before)
    else:
        table.print(before, header=True)
    for found in _news_forever(questions, watch):
        if as_json:
            print_json_rows(found)
        elif found:
            table.print(found)


def _news_forever(questions: "SyncLLMCallRepository", watch: "Watch") -> "Iterator[list[LLMCall]]":
    """Yield what comes in, until Ctrl-C; wait where MongoDB is away, and say so once."""
    is_away = False
    while True:
        time.sleep(POLL_SECONDS)
        try:
            calls = questions.ask(watch.news())
        except UnavailableError as error:
            if not is_away:
                say(f"{error} Watching goes on.")
            is_away = True
            continue
        is_away = False
        yield calls


def _attempt(ran: TaskFields) -> Text:
    attempt = "attempt" if ran.retries is None else f"attempt {ran.retries + 1}"
    worker = f"{figures.cell(ran.worker)}, pid {figures.cell(ran.pid)}"
    redelivered = ", redelivered" if ran.redelivered else ""
    return Text.assemble(attempt, (f"  {worker}{redelivered}", "dim"))
