"""A session as a conversation, turn by turn, with what was said before not repeated.

    build_conversation(session_id, collection.aggregate(pipelines.session(session_id)))

Each request of a chat usually holds all earlier messages. Here a call shows what is new in it: it
continues the earlier call whose request, or request and answer, its own request begins with. What
was said is compared, not how: history that went through another provider's shape is the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any

from pydantic import BaseModel, Field

from llm_audit.call import IN_JSON, LLMCallStatusEnum, LLMCallTypeEnum, UTCDatetime
from llm_audit.providers.blocks import ASSISTANT, SYSTEM
from llm_audit.providers.messages import Part, read_answers, read_request
from llm_audit.tolerant import TolerantModel

LONG_KEY = 120  # characters: an answer that is repeated and this long was this call's


Parts = Annotated[list[Part], IN_JSON]


class Turn(TolerantModel):
    """One call of a conversation: what is new in its request, and the answer."""

    id: str
    continues: str | None = Field(
        description="the call whose conversation goes on here; None for a new beginning"
    )
    new: Parts = Field(description="in the request; empty if the same was asked before")
    answer: Parts
    other_answers: list[Parts] = Field(
        default_factory=list, description="the other choices, where several were asked for"
    )
    status: LLMCallStatusEnum
    call_type: LLMCallTypeEnum | None = None
    provider: str | None = None
    model: str | None = None
    trace_id: str | None = None
    task_id: str | None = None
    finish_reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    ended_by: str | None = None
    total_tokens: int | None = None
    estimated_cost: float | None = Field(None, description="USD")
    latency_ms: float | None = None
    created_at: UTCDatetime | None = None
    completed_at: UTCDatetime | None = None


class Conversation(BaseModel):
    """The calls of a session, oldest first."""

    session_id: str
    turns: list[Turn]


def build_conversation(session_id: str, rows: Iterable[Mapping[str, Any]]) -> Conversation:
    """Make a conversation of the rows of `pipelines.session`.

    Args:
        session_id: As the conversation is to say it.
        rows: As they come, oldest first.
    """
    builder = ConversationBuilder(session_id)
    for row in rows:
        builder.add(row)
    return builder.conversation


class ConversationBuilder:
    """Makes a conversation of rows as they come: each may repeat all that was said before.

    Args:
        session_id: As the conversation is to say it.

    Attributes:
        conversation: Of the rows so far.
    """

    def __init__(self, session_id: str) -> None:
        self.conversation = Conversation(session_id=session_id, turns=[])
        self._memory = _Memory()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the next row of `pipelines.session`."""
        self.conversation.turns.append(_turn(row, self._memory))


@dataclass
class _Said:
    """What one call's request and answer said; the keys are of what is compared."""

    call_id: str
    system_keys: list[str]
    asked_keys: list[str]
    answer_keys: list[str]

    def beginnings(self, keys: Sequence[str]) -> Iterator[bytes]:
        """Yield what identifies each beginning of a history.

        As long as nobody has answered, the instructions belong to it: two prompts about the same
        text are no conversation. Later they may change, as where they tell the time.
        """
        instructions = "\n".join(self.system_keys)
        digest, answered = b"", False
        for key in keys:
            answered = answered or key.startswith(f'["{ASSISTANT}"')
            digest = _digest(digest, key)
            yield digest if answered else _digest(digest, instructions)


class _Memory:
    """What was said so far in a session, found again by how it begins or how it ended."""

    def __init__(self) -> None:
        self.calls: dict[str, _Said] = {}
        self.shown: set[str] = set()
        self._by_beginning: dict[bytes, str] = {}
        self._by_answer: dict[str, _Said] = {}
        self._by_response_id: dict[str, str] = {}

    def add(self, said: _Said, response_id: object) -> None:
        """Remember a call."""
        self.calls[said.call_id] = said
        history = [*said.asked_keys, *said.answer_keys]
        self.shown.update(history)
        for length, digest in enumerate(said.beginnings(history), start=1):
            if length in {len(said.asked_keys), len(history)}:
                self._by_beginning[digest] = said.call_id
        if said.answer_keys:
            self._by_answer[said.answer_keys[-1]] = said
        if type(response_id) is str:  # Code is one too, and no key of a dict
            self._by_response_id[response_id] = said.call_id
        del said.asked_keys[:-1]  # the history of each call would add up, and only its end is asked

    def find(self, said: _Said, previous_response_id: object) -> tuple[str | None, int]:
        """Return the call that is continued, and how many keys of the request were said before."""
        if type(previous_response_id) is str:  # the provider keeps the history
            answered_id = self._by_response_id.get(previous_response_id)
            if answered_id is not None:
                return answered_id, 0
        keys = said.asked_keys
        beginnings = list(said.beginnings(keys))
        for length in range(len(keys), 0, -1):
            if call_id := self._by_beginning.get(beginnings[length - 1]):
                return call_id, length
        for length in range(len(keys), 0, -1):  # the history was cut off or told differently
            answered = self._by_answer.get(keys[length - 1])
            if answered and _is_no_coincidence(answered, keys, length):
                return answered.call_id, length
        return None, 0


def _turn(row: Mapping[str, Any], memory: _Memory) -> Turn:
    asked = read_request(row)
    answer, *other_answers = read_answers(row)
    system = [(part, part.key()) for part in asked if part.role == SYSTEM]
    others = [(part, part.key()) for part in asked if part.role != SYSTEM]
    said = _Said(
        str(row["_id"]),
        [key for _, key in system if key],
        [key for _, key in others if key],
        [key for part in answer if (key := part.key())],
    )
    continues, known = memory.find(said, row.get("previous_response_id"))
    instructions = set(memory.calls[continues].system_keys) if continues else set()
    new = [part for part, key in system if key not in instructions]
    compared = 0
    for part, key in others:
        compared += bool(key)
        if compared > known or (key and key not in memory.shown):
            new.append(part)
    memory.add(said, row.get("response_id"))
    fields = {name: row[name] for name in Turn.model_fields if name in row}
    return Turn(
        **fields,
        id=row["_id"],
        continues=continues,
        new=new,
        answer=answer,
        other_answers=other_answers,
    )


def _is_no_coincidence(answered: _Said, keys: Sequence[str], length: int) -> bool:
    """Tell whether a history, the first keys up to a call's last words, is that call's."""
    asked = answered.asked_keys[-1:]
    before = length - len(answered.answer_keys) - 1
    return len(keys[length - 1]) >= LONG_KEY or (before >= 0 and [keys[before]] == asked)


def _digest(before: bytes, key: str) -> bytes:
    return blake2b(before + key.encode(errors="replace"), digest_size=16).digest()
