"""`llm-audit show`: one call, to be read by people."""

import json
from collections.abc import Mapping
from itertools import chain
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_audit.call import SAID
from llm_audit.cli.connection import find_call, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json
from llm_audit.cli.drawing.parts import (
    folded,
    print_error,
    print_exchange,
    print_rest,
)
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.display.facts import DRAWN, facts_of
from llm_audit.display.hidden import Hidden, hidden_in
from llm_audit.display.json_lines import extended_json
from llm_audit.display.left_over import left_over
from llm_audit.display.said import answers_in, request_in
from llm_audit.errors import UsageError
from llm_audit.queries.answers.pairing import pair
from llm_audit.queries.steps import Document

WHOLE_CONTENT = "what is in GridFS comes with LLMCallRepository.get(call_id, with_media=True)"
CHECKED_MAX_BYTES = 2**25  # of the media, which are read to be compared with their sha256


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
    said = [list(request_in(document)), *map(list, answers_in(document))]
    request, *answers = pair(*said)
    print_exchange(console, request, answers, full=full)
    print_error(console, call, full=full)
    rest = left_over(document, DRAWN, chain.from_iterable(said))
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
    for name, value in facts_of(call):
        shown, remark = folded(figures.cell(value), full=full)
        facts.add_row(figures.cell(name), Text.assemble(shown, (f" {remark}", "dim")))
    return facts
