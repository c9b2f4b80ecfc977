"""What was asked of tools, with what they gave back beside it."""

from collections import defaultdict, deque
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

    The time that it takes grows with the number of parts, however many are tool calls.

    Args:
        *said: What was said, one list after the other in time.

    Returns:
        The same lists. A response whose call is in none of them stays where it is.
    """
    waiting = _Waiting()
    return [[one for part in parts if (one := _placed(part, waiting))] for parts in said]


def _placed(part: Part, waiting: "_Waiting") -> Paired | None:
    """Return a part to be shown where it is; None for what was moved to its call."""
    if part.type == RESPONSE and (asked := waiting.asked_for(part)):
        asked.responses.append(part)
        return None
    paired = Paired(part)
    if part.type == CALL:
        waiting.add(paired)
    return paired


class _Waiting:
    """Tool calls that a response may be to."""

    def __init__(self) -> None:
        self._newest: dict[str, Paired] = {}  # by id, which may be given again in a later turn
        # oldest first, by the tool's name and all together; then those alone that have no id
        self._of_name: defaultdict[str | None, deque[Paired]] = defaultdict(deque)
        self._of_any: deque[Paired] = deque()
        self._of_name_without_id: defaultdict[str | None, deque[Paired]] = defaultdict(deque)
        self._of_any_without_id: deque[Paired] = deque()

    def add(self, asked: Paired) -> None:
        name, identifier = asked.part.name, asked.part.id
        self._of_name[name].append(asked)
        self._of_any.append(asked)
        if identifier is not None:
            self._newest[identifier] = asked
        else:
            self._of_name_without_id[name].append(asked)
            self._of_any_without_id.append(asked)

    def asked_for(self, response: Part) -> Paired | None:
        """Return the call that a response is to."""
        if response.id is None:
            of_name, of_any = self._of_name, self._of_any
        elif response.id in self._newest:
            return self._newest[response.id]
        else:  # an id that no call has was made by the program, where the provider gives none
            of_name, of_any = self._of_name_without_id, self._of_any_without_id
        unanswered = of_any if response.name is None else of_name[response.name]
        while unanswered and unanswered[0].responses:
            unanswered.popleft()
        return unanswered[0] if unanswered else None
