"""`llm-audit calls` and `llm-audit task`: lists of calls, also as they come in."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit.call import LLMCallStatusEnum
from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls, not_found
from llm_audit.cli.json_lines import print_json
from llm_audit.cli.options import AsJson, Limit, described, filtered
from llm_audit.errors import UsageError
from llm_audit.queries import pipelines
from llm_audit.queries.filters import CallFilters, condition

if TYPE_CHECKING:
    from llm_audit.cli.connection import Documents

Call = Mapping[str, Any]

POLL_SECONDS = 1.0
LATE = timedelta(minutes=1)  # a call's id is made when it starts, its document when it is shipped
WATCHED_MAX = 1_000  # calls that are running

# Without what was said: a page of bodies would be megabytes.
SHOWN = (
    *("status", "call_type", "provider", "model", "created_at", "completed_at", "latency_ms"),
    *("total_tokens", "estimated_cost", "trace_id", "session_id", "user_id", "company_id"),
    *("task_id", "task", "tags", "tools_called", "error_type", "ended_by"),
)
PENDING = LLMCallStatusEnum.PENDING.value
WIDE = 110  # columns of a terminal that has room for whole ids


@filtered()
def calls(
    *,
    filters: CallFilters,
    limit: Limit = 20,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Only calls older than this one.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show calls as they come in, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List calls, newest first.

    `show` takes an id as it is printed here, shortened. The next page: --after and the last id.
    A call that comes in more than a minute late, from a journal say, is not seen by --watch.
    """
    if watch and (after or filters.get("end_date")):
        raise UsageError("--watch shows what comes in: leave out --after and --until.")
    console = terminal.console()
    with collection_of_calls() as collection:
        wanted = condition(filters, after=after)
        before = _recent(collection, filters, []) if watch else {}
        found = list(collection.find(wanted, SHOWN).sort("_id", -1).limit(limit))
        if watch:
            _print_calls(console, found[::-1], as_json=as_json, header=True)
            seen = before | {call["_id"]: call for call in found}
            for call in _incoming(collection, filters, seen):
                _print_calls(console, [call], as_json=as_json)
    if not found and not as_json:
        console.print(f"No calls ({described(filters)}).", style="dim")
        return
    _print_calls(console, found, as_json=as_json, header=True)
    if len(found) == limit and not as_json:
        console.print(f"The next ones: --after {found[-1]['_id']}", style="dim")


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
    console = terminal.console()
    if not as_json:
        name = terminal.cell((found[0].get("task") or {}).get("name"))
        console.print(terminal.heading(name, terminal.cell(task_id)))
    attempt: object = None
    for number, call in enumerate(found):
        ran = call.get("task") or {}
        if not as_json and (number == 0 or (ran.get("retries"), ran.get("attempt_id")) != attempt):
            attempt = (ran.get("retries"), ran.get("attempt_id"))
            console.print(_attempt(ran))
        _print_calls(console, [call], as_json=as_json)


def call_table(console: Console, *, show_header: bool = False) -> Table:
    """Return the table for calls, whose columns are as wide whatever calls are in it."""
    table = terminal.table(
        *("time", "id", "status", "model", "tokens", "cost", "latency"),
        right="tokens cost latency",
        show_header=show_header,
    )
    wide = console.width >= WIDE
    id_width = 36 if wide else terminal.SHORT_ID
    for column, width in zip(
        table.columns, (11, id_width, 10, 26 if wide else 12, 7, 9, 7), strict=True
    ):
        column.width = width
    return table


def add_call(table: Table, call: Call) -> None:
    """Add a call to its table."""
    table.add_row(
        terminal.moment(call.get("created_at")),
        terminal.cell(call["_id"])[: table.columns[1].width],
        terminal.status_text(call.get("status")),
        terminal.words(call.get("model")),
        terminal.number(call.get("total_tokens")),
        terminal.money(call.get("estimated_cost")),
        terminal.duration(call.get("latency_ms")),
    )


def _attempt(ran: Mapping[str, Any]) -> Text:
    retries = ran.get("retries")
    attempt = f"attempt {retries + 1}" if isinstance(retries, int) else "attempt"
    worker = f"{terminal.cell(ran.get('worker'))}, pid {terminal.cell(ran.get('pid'))}"
    redelivered = ", redelivered" if ran.get("redelivered") else ""
    return Text.assemble(attempt, (f"  {worker}{redelivered}", "dim"))


def _print_calls(
    console: Console, found: Sequence[Call], *, as_json: bool, header: bool = False
) -> None:
    if as_json:
        for call in found:
            print_json(call)
        console.file.flush()
        return
    table = call_table(console, show_header=header)
    for call in found:
        add_call(table, call)
    console.print(table)


def _incoming(
    collection: "Documents", filters: CallFilters, seen: dict[str, Call]
) -> Iterator[Call]:
    """Yield calls as they come in, and again when their status changes."""
    while True:
        time.sleep(POLL_SECONDS)
        running = [name for name, call in seen.items() if call.get("status") == PENDING]
        recent = _recent(collection, filters, running[-WATCHED_MAX:])
        for name, call in recent.items():
            if name not in seen or seen[name].get("status") != call.get("status"):
                yield call
        seen = recent


def _recent(collection: "Documents", filters: CallFilters, running: list[str]) -> dict[str, Call]:
    """Return the calls of the last minute, and those that were still running, oldest first."""
    lately = condition({**filters, "start_date": datetime.now(UTC) - LATE})
    found = {call["_id"]: call for call in collection.find(lately, SHOWN)}
    if running:
        still_wanted = condition({**filters, "start_date": None}) | {"_id": {"$in": running}}
        found |= {call["_id"]: call for call in collection.find(still_wanted, SHOWN)}
    return dict(sorted(found.items()))
