"""`llm-audit show`: one call, to be read by people."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit.call import SAID, LLMCallStatusEnum
from llm_audit.cli.connection import find_call, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json
from llm_audit.cli.drawing.parts import (
    answers_of,
    folded,
    print_error,
    print_exchange,
    print_rest,
    request_of,
)
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.display.hidden import Hidden, hidden_in
from llm_audit.display.json_lines import extended_json
from llm_audit.display.left_over import left_over
from llm_audit.errors import UsageError
from llm_audit.queries.pairing import pair
from llm_audit.queries.steps import Document

_FACTS = {
    "trace": "trace_id",
    "session": "session_id",
    "user": "user_id",
    "company": "company_id",
    "parent call": "parent_call_id",
    "review": "review_id",
    "environment": "environment",
    "service": "service",
    "content": "content",
    "captured by": "captured_by",
    "endpoint": "endpoint",
    "response id": "response_id",
    "finish reason": "finish_reason",
    "ended by": "ended_by",
    "HTTP status": "http_status",
    "provider's request": "provider_request_id",
}
# What is drawn whole; whatever else is stored is left over, see `rest`.
_DRAWN = frozenset(
    {
        *("_id", "id", "call_type", "status", "provider", "model", "response_model", "task_id"),
        *("created_at", "latency_ms", "time_to_first_token_ms", "estimated_cost", "cost_source"),
        *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
        *("temperature", "max_tokens", "tool_choice", "metadata", "request_params", "tags"),
        *("error_type", "error_message", "error_traceback", "encoding_notes"),
        "redacted",
        *_FACTS.values(),
    }
)
WHOLE_CONTENT = "what is in GridFS comes with LLMCallRepository.get(call_id, with_media=True)"
_PARAMETER = re.compile("[a-z0-9]+(_[a-z0-9]+)*", re.IGNORECASE)
_OURS = frozenset(
    {
        *("id", "task", "tags", "score", "temperature", "max_tokens", "tool_choice", "metadata"),
        *("model", "started", "took", "tokens", "cost", "parts", "redacted", *_FACTS),
    }
)
CHECKED_MAX_BYTES = 2**25  # of the media, which are read to be compared with their sha256
_NAMES_OF_TOOLS = ("function", "custom", "toolSpec")


def show(
    call_id: Annotated[
        str, typer.Argument(metavar="ID", help="Of the call; its beginning will do.")
    ],
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Fold nothing, and leave nothing out.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The stored document, as MongoDB's Extended JSON.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one call: what was said, which tools were asked for and what they gave back."""
    from llm_audit.queries.media import checked

    if raw and as_json:
        raise UsageError("--raw and --json exclude each other.")
    with repository() as questions:
        document = questions.ask(find_call(call_id))
        for_people = not raw and not as_json
        problems = questions.ask(checked(document, CHECKED_MAX_BYTES)) if for_people else {}
    if as_json:
        print_json(document)
    elif raw:
        print(extended_json(document, indent=2))
    else:
        print_call(terminal.console(), document, problems, full=full)


def print_call(
    console: Console, document: Document, media_problems: Mapping[str, str], *, full: bool
) -> None:
    """Print one call.

    Args:
        console: Where to.
        document: The call, as read from MongoDB.
        media_problems: Which of its media are not as recorded, and why.
        full: Fold nothing, and leave nothing out.
    """
    from llm_audit.documents import LLMCall
    from llm_audit.encoding.moved import without_strangers

    document = without_strangers(document)
    call = LLMCall.model_validate(document).model_dump(exclude=set(SAID))
    console.print(
        Text.assemble(
            (figures.cell(call["call_type"]), "bold"), " ", terminal.status_text(call["status"])
        )
    )
    console.print(_facts(call, full=full))
    said = [list(request_of(document)), *map(list, answers_of(document))]
    request, *answers = pair(*said)
    print_exchange(console, request, answers, full=full)
    print_error(console, call, full=full)
    rest = left_over(document, _DRAWN, chain.from_iterable(said))
    print_rest(console, rest, full=full)
    for note in call["encoding_notes"]:
        console.print(Text(f"changed to be stored: {figures.cell(note)}", "dim"))
    if call["media"]:
        console.print(Text(WHOLE_CONTENT, "dim"))
    for sha256, problem in media_problems.items():
        line = Text(f"✗ of its media {figures.cell(sha256)}: {problem}", terminal.FAILURE)
        console.print(line, soft_wrap=True)
    if (hidden := hidden_in(document)).kinds:
        console.print(Text(_told(hidden), "bold yellow", overflow="fold"))
    if call["unreadable"]:
        names = ", ".join(call["unreadable"])
        console.print(Text(f"of another type than usual: {names}; --raw shows it", "yellow"))


def _told(hidden: Hidden) -> str:
    """Return how many characters nobody sees, of what kinds, and what they spell."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in hidden.kinds.most_common())
    spelled = " and ".join(json.dumps(text, ensure_ascii=False) for text in hidden.smuggled)
    says = f"; they spell {spelled}" if spelled else ""
    return f"! {figures.counted(hidden.kinds.total(), 'invisible character')}: {kinds}{says}"


def _facts(call: Document, *, full: bool) -> Table:
    """Return what is known of a call beside its messages."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _known(call):
        shown, remark = folded(figures.cell(value), full=full)
        facts.add_row(figures.cell(name), Text.assemble(shown, (f" {remark}", "dim")))
    return facts


def _known(call: Document) -> Iterator[tuple[str, object]]:
    yield "id", call["id"]
    yield from _measures(call)
    task = call.get("task") or {}
    if call.get("task_id"):
        retries = task.get("retries")
        attempt = f", attempt {retries + 1}" if isinstance(retries, int) else ""
        yield "task", f"{task.get('name') or ''} {call['task_id']}{attempt}".strip()
    for name, stored in _FACTS.items():
        if call.get(stored) is not None:
            yield name, call[stored]
    if call.get("redacted"):
        yield "redacted", ", ".join(f"{rule} {n}" for rule, n in sorted(call["redacted"].items()))
    if call.get("tags"):
        yield "tags", ", ".join(map(str, call["tags"]))
    for score in call.get("scores") or ():
        source = f" ({score['source']})" if score["source"] else ""
        comment = f": {score['comment']}" if score["comment"] else ""
        yield "score", f"{score['name']} {score['value']}{source}{comment}"
    yield from _asked(call)
    if offered := [_tool_name(tool) for tool in call.get("tools") or ()]:
        yield "tools offered", ", ".join(offered)


def _asked(call: Document) -> Iterator[tuple[str, str]]:
    """Yield how it was asked: parameters as whoever asked named them, but not as one of ours."""
    for name in ("temperature", "max_tokens", "tool_choice", "metadata"):
        if (value := call.get(name)) not in (None, {}):
            yield name, _value(value)
    for name, value in (call.get("request_params") or {}).items():
        if value not in (None, {}):
            is_usual = _PARAMETER.fullmatch(name) and name not in _OURS
            yield name if is_usual else f"request_params.{json.dumps(name)}", _value(value)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _measures(call: Document) -> Iterator[tuple[str, object]]:
    model = " ".join(str(call[name]) for name in ("provider", "model") if call.get(name))
    if answered_by := call.get("response_model"):
        model += f" (answered by {answered_by})" if answered_by != call.get("model") else ""
    if model:
        yield "model", model
    if isinstance(created := call.get("created_at"), datetime):
        yield "started", f"{created.astimezone():%Y-%m-%d %H:%M:%S %Z}"
        if call.get("status") == LLMCallStatusEnum.PENDING:
            so_far = (datetime.now(UTC) - created) / timedelta(milliseconds=1)
            yield "running for", figures.duration(max(so_far, 0))
    if call.get("latency_ms") is not None:
        first = call.get("time_to_first_token_ms")
        after = f", first token after {figures.duration(first)}" if first is not None else ""
        yield "took", f"{figures.duration(call['latency_ms'])}{after}"
    if tokens := _tokens(call):
        yield "tokens", tokens
    if call.get("estimated_cost") is not None:
        source = f" ({call['cost_source']})" if call.get("cost_source") else ""
        yield "cost", f"{figures.money(call['estimated_cost'])}{source}"
    if parts := _parts_of_the_cost(call):
        yield "parts", parts


def _parts_of_the_cost(call: Document) -> str:
    details = call.get("cost_details")
    numbers = details.items() if isinstance(details, dict) else ()
    parts = {name: usd for name, usd in numbers if isinstance(usd, int | float) and usd}
    if len(parts) < 2:  # noqa: PLR2004 - one part is the whole
        return ""
    return ", ".join(f"{name} {figures.money(usd)}" for name, usd in parts.items())


def _tokens(call: Document) -> str:
    whole = {"prompt_tokens": "in", "completion_tokens": "out"}  # shown where it is 0, too
    parts_of_them = {"cached_tokens": "of them cached", "reasoning_tokens": "of them reasoning"}
    order = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    return ", ".join(
        f"{figures.number(call[stored])} {whole.get(stored) or parts_of_them[stored]}"
        for stored in order
        if call.get(stored) or (stored in whole and call.get(stored) is not None)
    )


def _tool_name(tool: Any) -> str:
    if not isinstance(tool, Mapping):
        return "?"
    inner = next((tool[n] for n in _NAMES_OF_TOOLS if isinstance(tool.get(n), Mapping)), tool)
    declared = tool.get("functionDeclarations") or tool.get("function_declarations") or ()
    names = [str(each.get("name")) for each in declared if isinstance(each, Mapping)]
    return ", ".join(names) or str(inner.get("name") or tool.get("type") or ", ".join(tool))
