"""How what was said looks: roles in colour, tools with what they gave back, long content folded."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_audit.call import SAID
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.runs import both_ends, fold
from llm_audit.display import figures
from llm_audit.display.pretty import pretty
from llm_audit.providers.blocks import (
    ASSISTANT,
    CALL,
    OTHER,
    REASONING,
    RESPONSE,
    TEXT,
)
from llm_audit.providers.messages import Part
from llm_audit.queries.answers.pairing import Paired
from llm_audit.queries.steps import Document

FOLDED_CHARACTERS = 800
FOLDED_LINES = 12
SHORTEST_FOLD = 200  # characters: fewer are shown
EMPTY = "(empty)"
NAMED_PATHS = 5  # of what is not shown
_ROLE = re.compile(r"[\w.$-]+")

ROLE_STYLES = {"system": "magenta", "user": "cyan", "assistant": "green", "tool": "yellow"}


def print_exchange(
    console: Console, request: Sequence[Paired], answers: Sequence[Sequence[Paired]], *, full: bool
) -> None:
    """Print what was asked, and what was answered.

    Args:
        console: Where to.
        request: In order.
        answers: More than one if several choices were asked for.
        full: Fold nothing.
    """
    _print_parts(console, request, full=full)
    choices = [
        (f"choice {number}" if len(answers) > 1 else "", answer)
        for number, answer in enumerate(answers, start=1)
    ]
    first, between, last = both_ends(choices, full=full)
    for remark, answer in first:
        _print_parts(console, answer, full=full, remark=remark)
    if between:
        console.print()
        console.print(fold(len(between), "choice"))
    for remark, answer in last:
        _print_parts(console, answer, full=full, remark=remark)


def print_error(console: Console, call: Document, *, full: bool) -> None:
    """Print why a call failed, if it says so."""
    if not call.get("error_type") and not call.get("error_message"):
        return
    console.print()
    message = str(call.get("error_message") or "")
    kind = Text(f"{figures.cell(call.get('error_type'))}: ", terminal.FAILURE)
    words = _folded(message, terminal.FAILURE, full=full, indent=0, before=kind)
    for shown in _beside(Text("✗ ", terminal.FAILURE), words, indent=0):
        console.print(shown)
    if details := call.get("error_details"):
        for shown in _folded(pretty(details), "dim", full=full):
            console.print(shown)
    traceback = str(call.get("error_traceback") or "")
    # of an exception that was not raised it is its last line alone, which stands here already
    if "\n" in traceback.strip() or not traceback.strip().endswith(message.strip()):
        for shown in _folded(traceback, "dim", full=full, keep_end=True):
            console.print(shown)


def print_rest(console: Console, rest: Mapping[str, Any], *, full: bool) -> None:
    """Print what is stored beside all this, by its path; of what was said name it at least.

    Args:
        console: Where to.
        rest: As `left_over` returns it.
        full: Print all of it.
    """
    said = [path for path in rest if path.partition(".")[0] in SAID and _says_much(rest[path])]
    if said and not full:
        named = ", ".join(figures.cell(path) for path in said[:NAMED_PATHS])
        more = f" and {len(said) - NAMED_PATHS} more" if len(said) > NAMED_PATHS else ""
        console.print(Text(f"not shown: {named}{more}: --full", "dim"))
    if rest and full:
        console.print()
        console.print(Text("also stored", "bold"))
        for path, value in rest.items():
            for shown in _labelled("·", path, None, value, full=True):
                console.print(shown)


def _says_much(value: Any) -> bool:
    """Tell whether a value is more than an id, a number or a state."""
    return isinstance(value, dict | list) or (isinstance(value, str) and " " in value)


def _print_parts(
    console: Console, parts: Sequence[Paired], *, full: bool, remark: str = ""
) -> None:
    """Print what was said under the roles that said it, with a remark beside the first."""
    first, between, last = both_ends(parts, full=full)
    _print_run(console, first, full=full, remark=remark)
    if between:
        are_calls = all(paired.part.type == CALL for paired in between)
        console.print()
        console.print(fold(len(between), "tool call" if are_calls else "part"))
        _print_run(console, last, full=full)


def _print_run(console: Console, parts: Iterable[Paired], *, full: bool, remark: str = "") -> None:
    before: Part | None = None
    for paired in parts:
        part = paired.part
        # texts of one message are one part, so a second one is another message's
        follows = before and before.role == part.role and not before.type == part.type == TEXT
        if not follows:
            console.print()
            console.print(_role(part.role, remark))
            remark = ""
        for shown in _shown(paired, full=full):
            console.print(shown)
        before = part


def role_style(role: str) -> str:
    """Return the colour of a role."""
    return ROLE_STYLES.get(role, ROLE_STYLES[ASSISTANT])


def _role(role: str, remark: str) -> Text:
    name = figures.cell(
        role if _ROLE.fullmatch(role) else f"role {json.dumps(role, ensure_ascii=False)}"
    )
    return Text.assemble(
        (name, f"bold {role_style(name)}"), (f"  {remark}" if remark else "", "dim")
    )


def _shown(paired: Paired, *, full: bool) -> Iterator[Padding]:
    part = paired.part
    if part.type == TEXT and not part.content.strip():
        yield _indented(Text(EMPTY, "dim"), 2)
    elif part.type == TEXT:
        yield from _folded(part.content, full=full)
    elif part.type == REASONING:
        thought = part.content or "(not told)"
        yield from _labelled("·", "thinking", None, thought, full=full, style="dim italic")
    elif part.type == CALL:
        yield from _labelled("→", part.name, part.id, part.arguments, full=full)
        first, between, last = both_ends(paired.responses, full=full)
        for response in first:
            yield from _given_back(response, None, None, full=full)
        if between:
            yield _indented(fold(len(between), "response"), 2)
        for response in last:
            yield from _given_back(response, None, None, full=full)
    elif part.type == RESPONSE:
        yield from _given_back(part, part.name, part.id, full=full)
    else:
        yield from _labelled("·", _kind(part), None, _inner(part), full=full)


def _given_back(
    response: Part, name: str | None, identifier: str | None, *, full: bool
) -> Iterator[Padding]:
    remark = "failed: " if response.is_error else ""
    yield from _labelled("←", name, identifier, response.response, full=full, remark=remark)


def _kind(part: Part) -> str | None:
    """Return the type of a part that says its own, or holds nothing else."""
    if part.type == OTHER or not isinstance(part.content, Mapping):
        return None
    says_so = part.content.get("type") == part.type
    return part.type if says_so or len(part.content) == 1 else None


def _inner(part: Part) -> Any:
    """Return what an image or the like is, without the words that say so."""
    if _kind(part) is None:
        return part.content
    rest = {name: value for name, value in part.content.items() if name != "type"}
    return rest[part.type] if rest.keys() == {part.type} else rest


def _labelled(
    sign: str,
    name: str | None,
    identifier: str | None,
    value: Any,
    *,
    full: bool,
    style: str = "",
    remark: str = "",
) -> Iterator[Padding]:
    label = Text.assemble(
        (f"{sign} ", "bold yellow"),
        (f"{figures.cell(name)}  " if name else "", "bold"),
        (f"{figures.cell(identifier)} " if identifier else "", "dim"),
        (remark, terminal.FAILURE),
    )
    text = pretty(value)
    if name is None and identifier is None:
        yield from _beside(label, _folded(text, style, full=full, indent=0))
        return
    label.rstrip()
    yield _indented(label, 2)
    yield from _folded(text, style, full=full, indent=4)


def _beside(label: Text, shown: Iterable[Padding], indent: int = 2) -> Iterator[Padding]:
    """Yield what is shown to the right of its label."""
    grid = Table.grid()
    for number, one in enumerate(shown):
        grid.add_row(Text() if number else label, one)
    yield Padding(grid if grid.row_count else label, (0, 0, 0, indent), expand=False)


def folded(text: str, *, full: bool, keep_end: bool = False) -> tuple[str, str]:
    """Return as much of a text as is shown of a long one, and a remark on how much is left out.

    Args:
        text: As recorded.
        full: Leave out nothing.
        keep_end: What is left out is the beginning.
    """
    whole = figures.safe(text).expandtabs().rstrip()
    if keep_end:
        end = "\n".join(whole.split("\n")[-FOLDED_LINES:])
        kept = end[-FOLDED_CHARACTERS:]
        whole_lines = kept.partition("\n")[2]
        if kept != end and len(whole_lines) > FOLDED_CHARACTERS // 2:
            kept = whole_lines
    else:
        kept = "\n".join(whole[:FOLDED_CHARACTERS].split("\n")[:FOLDED_LINES])
    left_out = len(whole) - len(kept)
    if full or left_out < SHORTEST_FOLD:
        return whole, ""
    return kept, f"… {left_out:,} more characters: --full"


def _folded(
    text: str,
    style: str = "",
    *,
    full: bool,
    indent: int = 2,
    before: Text | None = None,
    keep_end: bool = False,
) -> Iterator[Padding]:
    """Yield a text, and how much of it is left out."""
    kept, remark = folded(text, full=full, keep_end=keep_end)
    shown = [Text.assemble(before or "", (kept, style))] if kept or before else []
    shown += [Text(remark, "dim")] if remark else []
    for one in shown[::-1] if keep_end else shown:
        yield _indented(one, indent)


def _indented(text: Text, indent: int) -> Padding:
    text.overflow = "fold"
    return Padding(text, (0, 0, 0, indent), expand=False)
