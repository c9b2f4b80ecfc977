"""`llm-audit session`: a conversation, turn by turn."""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from llm_audit.call import FAILURE_STATUSES, LLMCallStatusEnum
from llm_audit.cli.connection import not_found, repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.call_table import WHOLE_ID, distinct_width
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.drawing.parts import print_error, print_exchange
from llm_audit.cli.drawing.runs import both_ends, fold
from llm_audit.cli.options import AsJson
from llm_audit.display import figures
from llm_audit.providers.blocks import ASSISTANT, TEXT
from llm_audit.providers.messages import Part
from llm_audit.queries.answers.conversation import Turn
from llm_audit.queries.answers.pairing import pair

WITH_WHOLE_IDS = 80  # columns of a terminal that has room for them beside a model's name


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
    with repository() as questions:
        turns = questions.get_session(session_id).turns
        if not turns:
            raise questions.ask(not_found("session_id", session_id))
    if as_json:
        print_json_rows(turns)
        return
    console = terminal.console()
    _print_totals(console, session_id, turns)
    _print_turns(console, turns, full=full)


def _print_turns(console: Console, turns: Sequence[Turn], *, full: bool) -> None:
    lists = [[turn.new, _answer(turn), *turn.other_answers] for turn in turns]
    said = iter(pair(*chain.from_iterable(lists)))
    drawn = [
        (turn, list(islice(said, len(in_turn)))) for turn, in_turn in zip(turns, lists, strict=True)
    ]
    numbers = {turn.id: number for number, turn in enumerate(turns, start=1)}
    needed = distinct_width([turn.id for turn in turns], terminal.SHORT_ID)
    id_width = max(needed, WHOLE_ID) if console.width >= WITH_WHOLE_IDS else needed
    first, between, last = both_ends(drawn, full=full)
    for shown in (first, last):
        for turn, (request, *answers) in shown:
            console.print()
            console.print(_rule(console, numbers[turn.id], turn, id_width))
            console.print(Text(_facts(numbers[turn.id], turn, numbers), "dim"))
            print_exchange(console, request, answers, full=full)
            error = turn.model_dump(include={"error_type", "error_message"})
            print_error(console, error, full=full)
        if between and shown is first:
            console.print()
            console.print(fold(len(between), "turn"))


def _print_totals(console: Console, session_id: str, turns: Sequence[Turn]) -> None:
    started = next((turn.created_at for turn in turns if turn.created_at), None)
    when = f"{started.astimezone():%Y-%m-%d %H:%M:%S}" if started else ""
    console.print(terminal.heading(f"Session {figures.cell(session_id)}", when))
    costs = [turn.estimated_cost for turn in turns if turn.estimated_cost is not None]
    console.print(
        terminal.totals(
            calls=len(turns),
            failures=sum(turn.status in FAILURE_STATUSES for turn in turns),
            pending=sum(turn.status == LLMCallStatusEnum.PENDING for turn in turns),
            tokens=sum(turn.total_tokens or 0 for turn in turns),
            cost=sum(costs),
            without_cost=len(turns) - len(costs),
        )
    )


def _answer(turn: Turn) -> list[Part]:
    """Return what was answered: an empty text where that is nothing, though all went well."""
    if turn.answer or turn.status != LLMCallStatusEnum.SUCCESS:
        return turn.answer
    return [Part(role=ASSISTANT, type=TEXT, content="")]


def _rule(console: Console, number: int, turn: Turn, id_width: int) -> Text:
    """Return the line above a turn: its number and model, and its call's id at the right."""
    left = Text.assemble(
        (f"── {number} ", "bold"),
        terminal.status_text(turn.status) if turn.status != LLMCallStatusEnum.SUCCESS else "",
        " " if turn.status != LLMCallStatusEnum.SUCCESS else "",
        f"{figures.cell(turn.model or turn.call_type)} ",
    )
    right = f" {figures.cell(turn.id)[:id_width]}"
    left.truncate(max(console.width - len(right) - 1, 1), overflow="ellipsis")
    line = "─" * (console.width - left.cell_len - len(right))
    return left.append(line, "dim").append(right, "dim")


def _facts(number: int, turn: Turn, numbers: dict[str, int]) -> str:
    """Return what a turn took, and how it goes on if not from the turn before."""
    known = [
        figures.moment(turn.created_at) if turn.created_at else None,
        figures.duration(turn.latency_ms) if turn.latency_ms is not None else None,
        figures.counted(turn.total_tokens, "token") if turn.total_tokens is not None else None,
        figures.money(turn.estimated_cost) if turn.estimated_cost is not None else None,
        f"ended by {figures.cell(turn.ended_by)}" if turn.ended_by else None,
    ]
    before = numbers.get(turn.continues or "")
    if not turn.new:
        known.append("nothing new was asked")
    if before is None and number > 1:
        known.append("a new beginning")
    elif before is not None and before != number - 1:
        known.append(f"goes on from {before}")
    return "   " + ", ".join(filter(None, known))
