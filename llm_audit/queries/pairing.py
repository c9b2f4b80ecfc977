"""What was asked of tools, with what they gave back beside it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from llm_audit.providers.blocks import CALL, RESPONSE
from llm_audit.providers.messages import Part


@dataclass
class Paired:
    """A part, and the tool's responses to it if it is a tool call."""

    part: Part
    responses: list[Part] = field(default_factory=list)


def pair(*said: Iterable[Part]) -> list[list[Paired]]:
    """Move each tool's response to the call that asked for it: by its id, else by the tool's name.

    Args:
        *said: What was said, one list after the other in time.

    Returns:
        The same lists. A response whose call is in none of them stays where it is.
    """
    waiting: list[Paired] = []
    return [[one for part in parts if (one := _placed(part, waiting))] for parts in said]


def _placed(part: Part, waiting: list[Paired]) -> Paired | None:
    """Return a part to be shown where it is; None for what was moved to its call."""
    if part.type == RESPONSE and (asked := _asked_for(part, waiting)):
        asked.responses.append(part)
        return None
    paired = Paired(part)
    if part.type == CALL:
        waiting.append(paired)
    return paired


def _asked_for(response: Part, waiting: list[Paired]) -> Paired | None:
    if response.id is not None:
        for asked in reversed(waiting):  # an id may be given again in a later turn
            if asked.part.id == response.id:
                return asked
    for asked in waiting:
        # an id that no call has was made by the program, where the provider gives none
        may_be = asked.part.id is None or response.id is None
        if may_be and not asked.responses and response.name in {None, asked.part.name}:
            return asked
    return None
