"""`llm-audit session`: a conversation, turn by turn."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.cli import terminal
from llm_audit.cli.connection import collection_of_calls, not_found
from llm_audit.cli.json_lines import print_json
from llm_audit.cli.options import AsJson
from llm_audit.cli.parts import print_error, print_parts
from llm_audit.queries import pipelines
from llm_audit.queries.conversation import Turn, build_conversation
from llm_audit.queries.pairing import pair


def session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="Of the session.")],
    *,
    full: Annotated[bool, typer.Option("--full", help="Fold nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a session as a conversation, turn by turn, without repeating its history.

    Each call is a turn: what is new in its request, then the answer. What a tool gave back stands
    with what was asked of it, also where a later turn brought it.
    """
    with collection_of_calls() as collection:
        rows = collection.aggregate(pipelines.session(session_id))
        turns = build_conversation(session_id, rows).turns
        if not turns:
            raise not_found(collection, "session", "session_id", session_id)
    if as_json:
        for turn in turns:
            print_json(turn)
        return
    console = terminal.console()
    _print_heading(console, session_id, turns)
    said = iter(pair(*(parts for turn in turns for parts in _lists(turn))))
    numbers: dict[str, int] = {}
    for number, turn in enumerate(turns, start=1):
        numbers[turn.id] = number
        console.print()
        console.print(_rule(console, number, turn, numbers))
        if not turn.new:
            console.print(Text("\nthe same was asked again", "dim italic"))
        for part_of_turn, _ in enumerate(_lists(turn)):
            choice = f"choice {part_of_turn}" if part_of_turn and turn.other_answers else ""
            print_parts(console, next(said), full=full, remark=choice)
        print_error(console, turn.model_dump(), full=full)


def _lists(turn: Turn) -> list[Sequence[object]]:
    return [turn.new, turn.answer, *turn.other_answers]
