"""The options that commands share: `--json`, and one for each filter that queries take."""

import functools
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, cast
from zoneinfo import available_timezones

import typer

from llm_audit.call import LLMCallStatusEnum, LLMCallTypeEnum
from llm_audit.errors import UsageError
from llm_audit.queries.filters import LATENCIES, LIMIT_MAX, CallFilters, beginning
from llm_audit.queries.times import parse_span, parse_time

FILTERS = "Filters"  # the part of the help that shows them

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line, for machines.")]

Limit = Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="How many at the most.")]


def _zones(incomplete: str) -> list[str]:
    return sorted(name for name in available_timezones() if name.startswith(incomplete))


Timezone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="Whose hours and days: Europe/Paris, UTC, +05:30; that of this machine if not given.",
        autocompletion=_zones,
    ),
]

_EXCLUDING = "excluding"
FILTER_NAMES = tuple(name for name in CallFilters.__annotations__ if name != _EXCLUDING)
_NEVER_EXCLUDED = ("start_date", "end_date", "missing", "prompt_of", *LATENCIES)
_FLAGS = {"start_date": "since", "end_date": "until", "call_type": "type", "tags": "tag"}
_HELP = {
    "start_date": "From then on: 30m, 2h, 7d, 2026-11-01 or 2026-11-01T10:00 (local time).",
    "end_date": "Before then, in the same forms.",
    "call_type": "CHAT, RAG_QUERY ... or a type of your own.",
    "status": "SUCCESS, ERROR, TIMEOUT, ABANDONED, CANCELLED, INCOMPLETE or PENDING.",
    "tags": "Calls that carry all of these tags.",
    "tool": "Calls that asked for this tool.",
    "score": "Calls that have a score of this name.",
    "missing": "Calls that have nothing of this, say task_name or cost.",
    "prompt_of": "Calls with the same system prompt as this one.",
    "min_latency_ms": "Calls that took as long, or longer.",
    "max_latency_ms": "Calls that took less.",
    "task_id": "Celery's.",
    "attempt_id": "Of a task: one run of its body.",
    "workflow_id": "Of a Celery canvas: its root task's, a group's, or its trace's.",
    "task_name": "Such as app.tasks.summarize.",
    "queue": "Where the task was sent.",
    "worker": "The node name of the worker that ran the task.",
    "parent_call_id": "Calls that this one caused.",
    "captured_by": "httpx2, httpx, botocore, aiohttp or opentelemetry: not recorded by hand.",
    "error_type": "Such as RateLimitError.",
    "ended_by": "What ended calls that did not succeed: worker_lost, hard_time_limit, response ...",
}


def filtered(
    since: str | None = None, *, leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for every filter; it takes them as one argument, `filters`.

    Args:
        since: How long before `--until`, or now, it begins if `--since` is not given, `7d` say;
            None for all calls.
        leave_out: Filters that make no sense for it.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True)
        options = [_option(name, since) for name in FILTER_NAMES if name not in leave_out]
        options.append(_NOT)
        names = [option.name for option in options]

        @functools.wraps(command)
        def run(**given: Any) -> Any:
            filters = _filters({name: given.pop(name) for name in names}, since)
            return command(filters=filters, **given)

        kept = [parameter for parameter in own.parameters.values() if parameter.name != "filters"]
        parameters = [*kept, *options]
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def described(filters: CallFilters) -> str:
    """Say in words which calls were looked at."""
    parts = []
    for name, value in filters.items():
        if isinstance(value, datetime):
            parts.append(f"{flag(name)} {value.astimezone():%Y-%m-%d %H:%M}")
        elif isinstance(value, dict):
            parts.append(f"not {described(cast('CallFilters', value))}")
        else:
            values = value if isinstance(value, list) else [value]
            parts.append(f"{flag(name)} {', '.join(map(str, values))}")
    return "; ".join(parts) or "all calls"


def flag(name: str) -> str:
    """Return how a filter is called in the shell, without the hyphens."""
    return _FLAGS.get(name, name.removesuffix("_id").replace("_", "-"))


_NOT = inspect.Parameter(
    _EXCLUDING,
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str] | None,
        typer.Option(
            "--not",
            help="Leave out calls that have this: model=gpt-4o, status=SUCCESS.",
            metavar="FILTER=VALUE",
            rich_help_panel=FILTERS,
        ),
    ],
)


def _option(name: str, since: str | None) -> inspect.Parameter:
    is_date = name in {"start_date", "end_date"}
    information = typer.Option(
        f"--{flag(name)}",
        help=_HELP.get(name),
        metavar=_metavar(name),
        rich_help_panel=FILTERS,
        case_sensitive=False,
        show_default=since if name == "start_date" and since else True,
        autocompletion=_call_types if name == "call_type" else None,
    )
    choice = list[LLMCallStatusEnum] if name == "status" else list[str]
    kind: Any = choice
    if name in LATENCIES:
        kind = float
    elif is_date or name == "prompt_of":
        kind = str
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, information],
    )


def _metavar(name: str) -> str:
    if name in ("start_date", "end_date"):
        return "TIME"
    if name in LATENCIES:
        return "NUMBER"
    return "ID" if name.endswith(("_id", "_of")) else "NAME"


def _call_types(incomplete: str) -> list[str]:
    return [name for name in LLMCallTypeEnum if name.startswith(incomplete.upper())]


def _filters(given: dict[str, Any], since: str | None) -> CallFilters:
    """Return what was given of the options, dates read."""
    filters = {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given.items()
        if value is not None and value != []
    }
    for name in filters.keys() & {"start_date", "end_date"}:
        filters[name] = parse_time(f"--{flag(name)}", filters[name])
    start, end = filters.get("start_date"), filters.get("end_date")
    if start and end and start >= end:
        raise UsageError(
            f"--since {given['start_date']} is not before --until {given['end_date']}."
        )
    if since and not start and (span := parse_span(since)):
        filters.pop("end_date", None)  # said after the start
        filters |= {"start_date": beginning(span, end)} | ({"end_date": end} if end else {})
    if excluded := given.get(_EXCLUDING):
        filters[_EXCLUDING] = _excluded(excluded)
    return cast("CallFilters", filters)


def _excluded(given: list[str]) -> dict[str, list[str]]:
    """Return what `--not` leaves out, by filter."""
    names = {flag(name): name for name in FILTER_NAMES if name not in _NEVER_EXCLUDED}
    excluded: dict[str, list[str]] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not value or name not in names:
            raise UsageError(
                f"--not {one!r:.60}: it takes FILTER=VALUE, such as model=gpt-4o; filters are "
                f"{', '.join(names)}."
            )
        excluded.setdefault(names[name], []).append(value)
    return excluded
