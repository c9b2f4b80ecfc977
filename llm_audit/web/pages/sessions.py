"""The sessions, those that began last first; and one as a conversation."""

from collections.abc import Sequence
from itertools import chain, islice
from typing import NamedTuple

from llm_audit.queries.answers.conversation import Turn
from llm_audit.queries.answers.pairing import pair
from llm_audit.queries.lookup import missing
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.said import Block, block_of
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page

_PAGE_ROWS = 50
_MOST_ROWS = 200
_TURNS = 50  # of a page
_MOST_TURNS = 500


class Shown(NamedTuple):
    """A turn with what was said in it, ready to be shown."""

    number: int
    turn: Turn
    new: Sequence[Block]
    answers: Sequence[Sequence[Block]]
    continues: int | None


async def sessions(asked: Asked) -> Page:
    """Show the newest sessions with calls that match, and lead to older ones."""
    limit = asked.whole("limit", _PAGE_ROWS, _MOST_ROWS)
    found = await asked.calls.list_sessions(
        limit=limit, after=asked.one("after"), **asked.filters()
    )
    older = asked.older([session.first_id for session in found], limit)
    return Page("sessions", "Sessions", {"sessions": found, "next": older})


async def session(asked: Asked) -> Page:
    """Show a session turn by turn, each only with what is new in it, the newest turns first shown.

    Of a long one a page shows some turns, and leads to those before and after.
    """
    wanted = asked.required("id", "session")
    conversation = await asked.calls.get_session(wanted)
    if not conversation.turns:
        return missing_page(await asked.calls.ask(missing("session_id", wanted)))
    turns = _shown(conversation.turns)
    limit = asked.whole("limit", _TURNS, _MOST_TURNS)
    last = min(asked.whole("until_turn", len(turns), 10**9), len(turns))
    first = max(0, last - limit)
    return Page(
        "session",
        f"Session {wanted}",
        {"session_id": wanted, "turns": conversation.turns},
        {
            "shown": turns[first:last],
            "earlier": asked.same(until_turn=first) if first else None,
            "later": asked.same(until_turn=last + limit) if last < len(turns) else None,
            "first": first + 1,
            "last": last,
        },
    )


def _shown(turns: Sequence[Turn]) -> list[Shown]:
    """Return turns with what was said in them, each tool call beside what it gave back."""
    lists = [[turn.new, turn.answer, *turn.other_answers] for turn in turns]
    said = iter(pair(*chain.from_iterable(lists)))
    numbers = {turn.id: number for number, turn in enumerate(turns, start=1)}
    found = []
    for turn, own in zip(turns, lists, strict=True):
        new, *answers = ([block_of(one) for one in part] for part in islice(said, len(own)))
        number = numbers[turn.id]
        before = numbers.get(turn.continues or "")
        branches_off = before if before is not None and before != number - 1 else None
        found.append(Shown(number, turn, new, answers, branches_off))
    return found
