"""`llm-audit show`: one call, to be read by people."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls, find_call
from llm_audit.cli.json_lines import print_json, print_line
from llm_audit.cli.messages import Other, Part, Said, ToolCall, ToolResult, read_turns
from llm_audit.cli.options import AsJson
from llm_audit.errors import UsageError

FOLDED_CHARACTERS = 800
FOLDED_LINES = 12
NOT_WORTH_FOLDING = 200

ROLE_STYLES = {"system": "magenta", "developer": "magenta", "user": "cyan", "tool": "yellow"}
_ANSWERING = "green"
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
        from bson.json_util import RELAXED_JSON_OPTIONS, dumps

        print_line(dumps(call, json_options=RELAXED_JSON_OPTIONS, indent=2, ensure_ascii=False))
    else:
        _print_call(terminal.console(), call, full=full)


def _print_call(console: Console, call: Mapping[str, Any], *, full: bool) -> None:
    console.print(
        Text.assemble(
            (terminal.cell(call.get("call_type")), "bold"),
            " ",
            terminal.status_text(call["status"]),
        )
    )
    console.print(_facts(call))
    for turn in read_turns(call):
        console.print()
        role = terminal.cell(turn.role)
        console.print(role, style=f"bold {ROLE_STYLES.get(role, _ANSWERING)}")
        for part in turn.parts:
            for shown in _shown(part, full=full):
                console.print(shown)
    if call.get("error_type") or call.get("error_message"):
        console.print()
        message = terminal.safe(call.get("error_message") or "")
        console.print(Text(f"{terminal.cell(call.get('error_type'))}: {message}", terminal.FAILURE))
        for shown in _folded(call.get("error_traceback") or "", "dim", full=full):
            console.print(shown)
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


def _shown(part: Part, *, full: bool) -> Iterator[Padding]:
    match part:
        case Said(text, thinking):
            if thinking:
                yield from _labelled("·", "thinking", None, text, full=full, style="dim italic")
            else:
                yield from _folded(text, full=full)
        case ToolCall():
            yield from _labelled("→", part.name, part.id, part.arguments, full=full)
            for result in part.results:
                yield from _labelled("←", None, None, result.content, full=full)
        case ToolResult(identifier, name, content):
            yield from _labelled("←", name, identifier, content, full=full)
        case Other(kind, value):
            inner = value.get(kind, value) if isinstance(value, Mapping) else value
            yield from _labelled("·", kind or None, None, inner, full=full)


def _labelled(
    sign: str,
    name: str | None,
    identifier: str | None,
    value: Any,
    *,
    full: bool,
    style: str = "",
) -> Iterator[Padding]:
    label = Text.assemble(
        (f"{sign} ", "bold yellow"),
        (terminal.cell(name) if name else "", "bold"),
        (f"  {terminal.cell(identifier)}" if identifier else "", "dim"),
    )
    text = _pretty(value)
    if name is None and "\n" not in text:
        yield from _folded(text, full=full, before=label)
        return
    yield _indented(label, 2)
    yield from _folded(text, style, full=full, indent=4)


def _pretty(value: Any) -> str:
    """Return a tool's arguments or result in lines: JSON in a string too, text blocks as text."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return value
        return _pretty(parsed) if isinstance(parsed, dict | list) else value
    if isinstance(value, list) and value and all(_is_text(block) for block in value):
        return "\n".join(block["text"] for block in value)
    if value is None:
        return ""
    short = _with_short_references(value)
    if isinstance(short, str):
        return short
    return json.dumps(short, indent=2, ensure_ascii=False, default=str)


def _with_short_references(value: Any) -> Any:
    """Return a value with a word in place of each reference to GridFS."""
    if isinstance(value, list):
        return [_with_short_references(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if isinstance(value.get("gridfs_id"), str):
        return f"{terminal.size(value.get('length') or 0)} in GridFS, {value['gridfs_id']}"
    return {key: _with_short_references(item) for key, item in value.items()}


def _is_text(block: Any) -> bool:
    return isinstance(block, Mapping) and isinstance(block.get("text"), str)


def _folded(
    text: str, style: str = "", *, full: bool, indent: int = 2, before: Text | None = None
) -> Iterator[Padding]:
    """Yield a text, and how much of it is left out."""
    whole = terminal.safe(text).rstrip()
    kept = "\n".join(whole[:FOLDED_CHARACTERS].split("\n")[:FOLDED_LINES])
    if full or len(whole) - len(kept) < NOT_WORTH_FOLDING:
        kept = whole
    if kept or before:
        shown = Text.assemble(before or "", (kept, style))
        yield _indented(shown, indent)
    if len(kept) < len(whole):
        left = f"… {len(whole) - len(kept):,} more characters: --full"
        yield _indented(Text(left, "dim"), indent)


def _indented(text: Text, indent: int) -> Padding:
    text.overflow = "fold"
    return Padding(text, (0, 0, 0, indent), expand=False)
