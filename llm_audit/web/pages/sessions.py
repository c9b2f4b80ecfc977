"""The sessions, newest first by when they began; and one as a conversation."""

import asyncio
from collections.abc import Sequence
from itertools import chain, islice
from typing import NamedTuple

from llm_audit.call import FAILURE_STATUSES
from llm_audit.queries.answers.conversation import Turn
from llm_audit.queries.answers.pairing import pair
from llm_audit.queries.lookup import missing
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.said import Room, Section, section_of
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page

_PAGE_ROWS = 50
_MOST_ROWS = 200
_TURNS = 50  # of a page
_MOST_TURNS = 500
_FAILED = 20  # turns that are named above the others
_BLOCKS, _BYTES = 600, 60_000  # of what was said, on a page
_OF_A_TURN = (60, 12_000, 4_000)  # things that were said, bytes, and characters of one of them


class Shown(NamedTuple):
    """A turn with what was said in it, ready to be shown."""

    number: int
    turn: Turn
    new: Section
    answers: Sequence[Section]
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
    turns = conversation.turns
    limit = asked.whole("limit", _TURNS, _MOST_TURNS)
    last = min(asked.whole("until_turn", len(turns), 10**9), len(turns))
    first = max(0, last - limit)
    shown = await asyncio.to_thread(_shown, turns, first, last)
    return Page(
        "session",
        f"Session {wanted}",
        {"session_id": wanted, "turns": turns},
        {
            "shown": shown,
            "earlier": asked.same(until_turn=first) if first else None,
            "later": asked.same(until_turn=last + limit) if last < len(turns) else None,
            "first": first + 1,
            "last": last,
            "failed": _failed(asked, turns, first, last),
            "most_failed": _FAILED,
        },
    )


def _failed(asked: Asked, turns: Sequence[Turn], first: int, last: int) -> list[tuple[int, str]]:
    """Return the number of each turn that failed, and the address of a page that shows it."""
    numbers = [at for at, turn in enumerate(turns, start=1) if turn.status in FAILURE_STATUSES]
    return [
        (at, asked.same() if first < at <= last else asked.same(until_turn=at)) for at in numbers
    ]


def _shown(turns: Sequence[Turn], first: int, last: int) -> list[Shown]:
    """Return some turns with what was said in them, each tool call beside what it gave back.

    Of one that says very much, a part is shown; on a page that is full, of early ones nothing.
    """
    lists = [[turn.new, turn.answer, *turn.other_answers] for turn in turns]
    said = iter(pair(*chain.from_iterable(lists)))
    paired = [list(islice(said, len(own))) for own in lists]
    numbers = {turn.id: number for number, turn in enumerate(turns, start=1)}
    page = Room(_BLOCKS, _BYTES)
    found = []
    for place in range(last - 1, first - 1, -1):  # the newest ones first
        turn, number = turns[place], place + 1
        sections = []
        for part in paired[place]:
            room = page.part(*_OF_A_TURN)
            blocks, size = room.blocks, room.size
            sections.append(section_of(part, room))
            page.take(blocks - room.blocks, size - room.size)
        before = numbers.get(turn.continues or "")
        branches_off = before if before is not None and before != number - 1 else None
        found.append(Shown(number, turn, sections[0], sections[1:], branches_off))
    return found[::-1]
