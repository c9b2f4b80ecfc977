"""What was said in a call, divided for a page: the history, what is new, and the answers.

A page has room for so much. What is over is counted, and leads to where all of it is read on.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from markupsafe import Markup

from llm_audit.display.pretty import pretty
from llm_audit.display.said import answers_in, request_in
from llm_audit.providers.blocks import ASSISTANT, CALL, REASONING, RESPONSE, SYSTEM, TEXT, USER
from llm_audit.providers.messages import Part
from llm_audit.queries.answers.pairing import Paired, pair
from llm_audit.queries.steps import Document
from llm_audit.web.drawing.markup import markdown
from llm_audit.web.drawing.media import Media, without_media

LONGEST = 8_000  # characters that are shown of one thing at once
READ_AT_ONCE = 40_000  # of what is read on
MARKDOWN_BYTES = 48_000  # of answers, if they are drawn
ELEMENTS = 6_000  # of all markdown of a page
CHOICES = 8


_TAG = re.compile("<[a-z]")


class Room:
    """How much a page, or a part of it, has room for.

    Args:
        blocks: Things that were said.
        size: Bytes of their text.
        longest: Characters of one of them.
    """

    def __init__(self, blocks: int = 10_000, size: int = 2**40, longest: int = LONGEST) -> None:
        self.blocks = blocks
        self.size = size
        self._longest = longest

    @property
    def is_full(self) -> bool:
        """Whether nothing more fits in."""
        return self.blocks <= 0 or self.size <= 0

    def cut(self, text: str) -> tuple[str, int]:
        """Return what there is room for of a text, and how many characters more it has."""
        shown = text[: max(min(self._longest, self.size), 0)]
        self.take(1, len(shown.encode(errors="replace")))
        return shown, len(text) - len(shown)

    def take(self, blocks: int, size: int) -> None:
        """Take note of what is used."""
        self.blocks -= blocks
        self.size -= size

    def part(self, blocks: int, size: int, longest: int) -> "Room":
        """Return as much of what is left as is wanted; its use has to be noted here."""
        return Room(max(min(blocks, self.blocks), 0), max(min(size, self.size), 0), longest)


class Block(NamedTuple):
    """One thing that was said, ready to be shown.

    Attributes:
        kind: text, reasoning, tool_call, tool_call_response or another, as the provider says it.
        role: Who said it.
        text: What, as text.
        rest: How many characters more there are.
        name: The tool's.
        responses: What the tool gave back, if it was asked for here.
        is_error: Whether a response says that the tool failed.
        media: Images and the like in it.
        place: Which of all parts of the call it is, from 0; None where nothing can be read on.
        drawn: The text as markdown, if it was asked for as such.
        left_out: How many responses more there are.
    """

    kind: str
    role: str
    text: str
    rest: int = 0
    name: str | None = None
    responses: Sequence["Block"] = ()
    is_error: bool = False
    media: Sequence[Media] = ()
    place: int | None = None
    drawn: Markup | None = None
    left_out: int = 0


class Section(NamedTuple):
    """Some of what was said.

    Attributes:
        blocks: What is shown of it.
        total: How many things were said.
        place: Of the first that is not shown; None if all are.
    """

    blocks: Sequence[Block]
    total: int
    place: int | None = None

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.total - len(self.blocks)


class Exchange(NamedTuple):
    """A call's request and its answers.

    Attributes:
        system: Instructions.
        history: What was said before this turn.
        question: The user's last words, where this turn is about tools that were asked for later.
        new: What is new in this turn.
        answers: One for each choice.
        choices: How many there are.
        parts: Everything that was said, in order, for reading on.
        has_text: Whether there is a text, which may be markdown.
    """

    system: Section
    history: Section
    question: Section
    new: Section
    answers: Sequence[Section]
    choices: int
    parts: Sequence[Part]

    @property
    def has_text(self) -> bool:
        """Whether something that is shown is a text, which may be markdown."""
        shown = chain(self.new.blocks, *(answer.blocks for answer in self.answers))
        return any(block.kind == TEXT and block.text.strip() for block in shown)


class Reading(NamedTuple):
    """A stretch of everything that was said.

    Attributes:
        blocks: What is shown.
        first: Of all parts, the number of the first one, from 1.
        total: How many parts there are.
        offset: How many characters of the first one came before.
        next: The place to read on at, and from which of its characters; None at the end.
    """

    blocks: Sequence[Block]
    first: int
    total: int
    offset: int
    next: tuple[int, int] | None


def exchange_of(call: Document, *, as_markdown: bool = False) -> Exchange:
    """Return what was said in a call, as much as a page has room for.

    Args:
        call: A document as read from MongoDB.
        as_markdown: Draw texts as markdown.
    """
    request_parts = list(request_in(call))
    answer_parts = [list(answer) for answer in answers_in(call)]
    parts = [*request_parts, *chain.from_iterable(answer_parts)]
    places = {id(part): place for place, part in enumerate(parts)}
    request, *answers = pair(request_parts, *answer_parts)
    system = [one for one in request if one.part.role == SYSTEM]
    others = [one for one in request if one.part.role != SYSTEM]
    first = _first_new(others)
    draw = _Drawing(places, as_markdown=as_markdown)
    drawn_whole = (MARKDOWN_BYTES, MARKDOWN_BYTES)  # half of a list is no list
    answer_room = Room(160, *(drawn_whole if as_markdown else (20_000, LONGEST)))
    drawn = [draw.section(answer, answer_room) for answer in answers[:CHOICES]]
    return Exchange(
        draw.section(system, Room(20, 6_000, 4_000)),
        draw.section(others[:first], Room(40, 6_000, 800)),
        draw.section(_question(others, first), Room(10, 4_000, 2_000)),
        draw.section(others[first:], Room(120, 14_000)),
        drawn,
        len(answers),
        parts,
    )


def reading(parts: Sequence[Part], place: int, offset: int) -> Reading:
    """Return what is read from a place on, in the order in which it was said.

    Args:
        parts: Everything that was said.
        place: Of the part to begin with.
        offset: How many of its characters were read already.
    """
    room = Room(200, READ_AT_ONCE, READ_AT_ONCE)
    blocks: list[Block] = []
    for at in range(place, len(parts)):
        start = offset if at == place else 0
        if room.is_full:
            return Reading(blocks, place + 1, len(parts), offset, (at, 0))
        block = _bare(parts[at], room, at, start)
        blocks.append(block)
        if block.rest:
            read = start + len(block.text)
            return Reading(blocks, place + 1, len(parts), offset, (at, read))
    return Reading(blocks, place + 1, len(parts), offset, None)


def section_of(said: Iterable[Paired], room: Room) -> Section:
    """Return what was said, as much as there is room for."""
    return _Drawing({}, as_markdown=False).section(said, room)


class _Drawing:
    """How parts become blocks.

    Args:
        places: Of the parts, by their identity.
        as_markdown: Draw texts as markdown.
    """

    def __init__(self, places: dict[int, int], *, as_markdown: bool) -> None:
        self._places = places
        self._elements = ELEMENTS if as_markdown else 0

    def section(self, said: Iterable[Paired], room: Room) -> Section:
        waiting = list(said)
        blocks: list[Block] = []
        for paired in waiting:
            if room.is_full:
                return Section(blocks, len(waiting), self._places.get(id(paired.part)))
            blocks.append(self.block(paired, room))
        return Section(blocks, len(waiting))

    def block(self, paired: Paired, room: Room) -> Block:
        block = _bare(paired.part, room, self._places.get(id(paired.part)))
        if paired.responses:
            shown: list[Block] = []
            for response in paired.responses:
                if room.is_full and shown:
                    break
                shown.append(_bare(response, room, self._places.get(id(response))))
            left_out = len(paired.responses) - len(shown)
            return block._replace(responses=shown, left_out=left_out)
        if self._elements and block.kind == TEXT and not block.rest:
            return block._replace(drawn=self._drawn(block.text))
        return block

    def _drawn(self, text: str) -> Markup | None:
        """Return a text as markup; None if it is better read as it is, or has too many elements."""
        made = markdown(text)
        elements = 0 if made is None else len(_TAG.findall(made))
        if elements > self._elements:
            return None
        self._elements -= elements
        return made


def _bare(part: Part, room: Room, place: int | None, offset: int = 0) -> Block:
    """Return a part as a block, without what belongs beside it."""
    value, media = without_media(_value_of(part))
    text = value if isinstance(value, str) else pretty(value)
    shown, rest = room.cut(text[offset:])
    return Block(
        part.type,
        part.role,
        shown,
        rest,
        part.name,
        is_error=part.is_error,
        media=media,
        place=place,
    )


def _value_of(part: Part) -> object:
    if part.type == CALL:
        return part.arguments
    if part.type == RESPONSE:
        return part.response
    return str(part.content) if part.type in (TEXT, REASONING) else part.content


def _first_new(said: Sequence[Paired]) -> int:
    """Return where this turn begins: after the last answer, or with the tools it had asked for."""
    after = next((n for n in range(len(said), 0, -1) if said[n - 1].part.role == ASSISTANT), 0)
    while after and said[after - 1].responses:
        after -= 1
    return after


def _question(said: Sequence[Paired], first: int) -> Sequence[Paired]:
    """Return the last words of the user before a turn that does not begin with such."""
    if first == len(said) or said[first].part.role == USER:
        return ()
    end = next((n for n in range(first, 0, -1) if said[n - 1].part.role == USER), 0)
    start = end
    while start and said[start - 1].part.role == USER:
        start -= 1
    return said[start:end]
