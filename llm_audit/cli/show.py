"""`llm-audit show`: one call, to be read by people."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls, find_call
from llm_audit.cli.json_lines import extended_json, print_json, print_line
from llm_audit.cli.options import AsJson
from llm_audit.cli.parts import FOLDED_CHARACTERS, print_error, print_exchange
from llm_audit.errors import UsageError
from llm_audit.queries.messages import read_answers, read_request
from llm_audit.queries.pairing import pair

_FACTS = {
    "trace": "trace_id",
    "session": "session_id",
    "user": "user_id",
    "company": "company_id",
    "parent call": "parent_call_id",
    "review": "review_id",
    "environment": "environment",
    "service": "service",
    "response id": "response_id",
    "finish reason": "finish_reason",
    "ended by": "ended_by",
}
_NAMES_OF_TOOLS = ("function", "custom", "toolSpec")


def show(
    call_id: Annotated[
        str, typer.Argument(metavar="ID", help="Of the call; its beginning will do.")
    ],
    *,
    full: Annotated[bool, typer.Option("--full", help="Fold nothing.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The stored document, as MongoDB's Extended JSON.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one call: what was said, which tools were asked for and what they gave back."""
    if raw and as_json:
        raise UsageError("--raw and --json exclude each other.")
    with collection_of_calls() as collection:
        call = find_call(collection, call_id)
    if as_json:
        print_json(call)
    elif raw:
        print_line(extended_json(call, indent=2))
    else:
        _print_call(terminal.console(), call, full=full)


def _print_call(console: Console, call: Mapping[str, Any], *, full: bool) -> None:
    console.print(
        Text.assemble(
            (terminal.cell(call.get("call_type")), "bold"),
            " ",
            terminal.status_text(call.get("status")),
        )
    )
    console.print(_facts(call))
    request, *answers = pair(read_request(call), *read_answers(call))
    print_exchange(console, request, answers, full=full)
    print_error(console, call, full=full)
    for note in call.get("encoding_notes") or ():
        console.print(Text(f"changed to be stored: {terminal.safe(note)}", "dim"))


def _facts(call: Mapping[str, Any]) -> Table:
    """Return what is known of a call beside its messages."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _known(call):
        facts.add_row(name, terminal.cell(value))
    return facts


def _known(call: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "id", call["_id"]
    yield from _measures(call)
    task = call.get("task") or {}
    if call.get("task_id"):
        retries = task.get("retries")
        attempt = f", attempt {retries + 1}" if isinstance(retries, int) else ""
        yield "task", f"{task.get('name') or ''} {call['task_id']}{attempt}".strip()
    for name, stored in _FACTS.items():
        if call.get(stored) is not None:
            yield name, call[stored]
    if call.get("tags"):
        yield "tags", ", ".join(map(str, call["tags"]))
    asked = {name: call.get(name) for name in ("temperature", "max_tokens", "tool_choice")}
    asked |= {"metadata": call.get("metadata"), **(call.get("request_params") or {})}
    for name, value in asked.items():
        if value not in (None, {}):
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            yield name, text[:FOLDED_CHARACTERS]
    if offered := [_tool_name(tool) for tool in call.get("tools") or ()]:
        yield "tools offered", ", ".join(offered)


def _measures(call: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    model = " ".join(str(call[name]) for name in ("provider", "model") if call.get(name))
    if answered_by := call.get("response_model"):
        model += f" (answered by {answered_by})" if answered_by != call.get("model") else ""
    if model:
        yield "model", model
    if created := call.get("created_at"):
        yield "started", f"{created.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    if call.get("latency_ms") is not None:
        first = call.get("time_to_first_token_ms")
        after = f", first token after {terminal.duration(first)}" if first is not None else ""
        yield "took", f"{terminal.duration(call['latency_ms'])}{after}"
    if tokens := _tokens(call):
        yield "tokens", tokens
    if call.get("estimated_cost") is not None:
        source = f" ({call['cost_source']})" if call.get("cost_source") else ""
        yield "cost", f"{terminal.money(call['estimated_cost'])}{source}"


def _tokens(call: Mapping[str, Any]) -> str:
    counts = {
        "in": "prompt_tokens",
        "of them cached": "cached_tokens",
        "out": "completion_tokens",
        "of them reasoning": "reasoning_tokens",
    }
    return ", ".join(
        f"{terminal.number(call[stored])} {name}"
        for name, stored in counts.items()
        if call.get(stored) or (call.get(stored) == 0 and stored.endswith("n_tokens"))
    )


def _tool_name(tool: Any) -> str:
    if not isinstance(tool, Mapping):
        return "?"
    inner = next((tool[n] for n in _NAMES_OF_TOOLS if isinstance(tool.get(n), Mapping)), tool)
    declared = tool.get("functionDeclarations") or tool.get("function_declarations") or ()
    names = [str(each.get("name")) for each in declared if isinstance(each, Mapping)]
    return ", ".join(names) or str(inner.get("name") or tool.get("type") or ", ".join(tool))
