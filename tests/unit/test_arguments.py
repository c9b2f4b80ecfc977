"""The arguments of the recording calls: what is taken, and what a wrong one becomes."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import openai
import pytest
import uuid_utils

from llm_audit import (
    LLMCallStatusEnum,
    LLMCallTypeEnum,
    LLMLogger,
    UsageError,
    audit_context,
    configure,
)
from llm_audit.context import NOWHERE, CallContext
from llm_audit.given import arguments
from llm_audit.testing.records import recorded_nowhere

Check = Callable[[Any], Any]


class Hostile:
    """An object that cannot be read at all."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class Model(str, Enum):  # noqa: UP042  (what users on older Pythons have)
    """A user's own enum of names."""

    FAST = "gpt-fast"


def field(name: str) -> Check:
    """Return what becomes of one argument of `start`, given in a context that has labels."""
    context = CallContext(tags=("outer",), metadata={"plan": "free"})

    def check(given: Any) -> Any:
        return arguments.start_fields({name: given}, {}, context).get(name)

    return check


messages = field("messages")
identifier = field("user_id")
tags = field("tags")
metadata = field("metadata")
call_type = field("call_type")
time_to_first_token = field("time_to_first_token_ms")


def status(given: Any) -> Any:
    return arguments.terminal_status(given, LLMCallStatusEnum.SUCCESS)


MISTAKES: list[tuple[str, Check, Any, Any]] = [
    ("messages", messages, {"role": "user"}, [{"role": "user"}]),
    ("messages", messages, "hello", [{"role": "user", "content": "hello"}]),
    ("user_id", identifier, 1.5, "1.5"),
    ("user_id", identifier, b"x", "b'x'"),
    ("user_id", identifier, Hostile(), "<Hostile: RuntimeError>"),
    ("tags", tags, "beta", ["outer", "beta"]),
    ("tags", tags, 5, ["outer", "5"]),
    ("metadata", metadata, [1], {"plan": "free", "value": [1]}),
    ("call_type", call_type, 5, LLMCallTypeEnum.OTHER),
    ("call_type", call_type, Hostile(), LLMCallTypeEnum.OTHER),
    ("status", status, "PENDING", LLMCallStatusEnum.SUCCESS),
    ("status", status, Model.FAST, LLMCallStatusEnum.SUCCESS),
    ("status", status, "done", LLMCallStatusEnum.SUCCESS),
    ("status", status, Hostile(), LLMCallStatusEnum.SUCCESS),
    ("time_to_first_token_ms", time_to_first_token, "12", None),
]


@pytest.mark.parametrize(("name", "check", "given", "_"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_clear_error_in_strict_mode(
    name: str, check: Check, given: Any, _: Any
) -> None:
    """In strict mode a wrong argument raises a UsageError that names it."""
    configure(strict=True)
    with pytest.raises(UsageError, match=name):
        check(given)


@pytest.mark.parametrize(("name", "check", "given", "kept"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_logged_once_and_kept_as_far_as_possible(
    name: str, check: Check, given: Any, kept: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Outside strict mode a wrong argument is logged once, and what can be is kept."""
    configure(strict=False)
    assert [check(given), check(given)] == [kept, kept]
    (line,) = caplog.messages
    assert name in line


RIGHT: list[tuple[Check, Any, Any]] = [
    (messages, [1], [1]),
    (messages, (1, 2), [1, 2]),
    (messages, [], []),
    (messages, None, None),
    (identifier, "u", "u"),
    (identifier, "", None),
    (identifier, 7, "7"),
    (identifier, Model.FAST, "gpt-fast"),
    (identifier, uuid.UUID(int=7), str(uuid.UUID(int=7))),
    (identifier, uuid_utils.UUID(int=7), str(uuid.UUID(int=7))),
    (tags, ["outer", "b"], ["outer", "b"]),
    (tags, None, ["outer"]),
    (metadata, {"plan": "paid"}, {"plan": "paid"}),
    (metadata, None, {"plan": "free"}),
    (call_type, "chat", LLMCallTypeEnum.CHAT),
    (call_type, LLMCallTypeEnum.AGENT, LLMCallTypeEnum.AGENT),
    (status, "cancelled", LLMCallStatusEnum.CANCELLED),
    (time_to_first_token, 12, 12),
]


@pytest.mark.parametrize(("check", "given", "expected"), RIGHT, ids=range(len(RIGHT)))
def test_what_is_right_is_taken(check: Check, given: Any, expected: Any) -> None:
    """Right arguments raise nothing in strict mode and become what the document holds."""
    configure(strict=True)
    assert check(given) == expected
    assert type(check(given)) is type(expected)


@pytest.mark.parametrize(
    "given", [None, 5, b"id", 1.5, "", ["id"]], ids=lambda given: type(given).__name__
)
def test_what_is_no_call_id_is_a_mistake(given: object, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong call_id raises in strict mode; otherwise its outcome becomes a call of its own."""
    configure(strict=True)
    with pytest.raises(UsageError, match="call_id"):
        arguments.call_identifier(given)
    configure(strict=False)
    ids = {arguments.call_identifier(given) for _ in range(2)}
    assert len(ids) == 2
    assert all(uuid.UUID(call_id).version == 7 for call_id in ids)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("given", [uuid.uuid4(), uuid_utils.uuid7(), "elsewhere"])
def test_a_call_id_may_come_back_in_another_type(given: object) -> None:
    """A call id that was parsed as a UUID on its way is the same id."""
    configure(strict=True)
    assert arguments.call_identifier(given) == str(given)


def test_what_is_no_number_is_kept_among_the_other_parameters() -> None:
    """What cannot be stored as a number is in request_params, and what is not given nowhere."""
    for given, kept, otherwise in (
        ({"temperature": "hot"}, {}, {"temperature": "hot"}),
        ({"temperature": 0, "max_tokens": 500.0}, {"temperature": 0, "max_tokens": 500}, {}),
        ({"max_tokens": 0.5}, {}, {"max_tokens": 0.5}),
        ({"temperature": openai.omit, "max_tokens": openai.NOT_GIVEN}, {}, {}),
    ):
        request_params = {"seed": 1}
        fields = arguments.start_fields(given, request_params, NOWHERE)
        assert fields == kept | {"request_params": {"seed": 1} | otherwise}
        assert type(fields.get("max_tokens", 1)) is int


def test_a_name_may_be_anything_that_has_a_text() -> None:
    """A model's name becomes a plain str, whatever it was; an empty one is none."""
    for given, expected in (
        (Model.FAST, "gpt-fast"),
        (4, "4"),
        (Hostile(), "<Hostile: RuntimeError>"),
        ("", None),
        (None, None),
    ):
        name = field("model")(given)
        assert (name, type(name)) == (expected, type(expected))


class Raising(Mapping[str, Any]):
    """An object whose every reading raises, its truth as that of a numpy array."""

    def _raise(self, *_: object) -> Any:
        raise ValueError("ambiguous")

    __bool__ = __len__ = __iter__ = __getitem__ = __eq__ = __ne__ = __str__ = __float__ = _raise
    __hash__ = Mapping.__hash__

    def __repr__(self) -> str:
        return "raising"


class RaisingText(str):
    """A text that cannot be asked for itself."""

    __slots__ = ()
    __str__ = __ne__ = __eq__ = Raising._raise
    __hash__ = str.__hash__


def raising_tags() -> Iterator[str]:
    yield "a"
    raise ValueError


def test_what_cannot_be_read_costs_only_its_own_field() -> None:
    """Whatever raises when it is looked at becomes its repr, and the rest is kept."""
    hostile = (
        Raising(),
        raising_tags(),
        Mock(spec=str),
        Mock(spec=list),
        Mock(spec=dict),
        Hostile(),
        10**5000,
    )
    configure(strict=False)
    for value in hostile:
        for name in arguments._ARGUMENTS:
            arguments.start_fields({name: value}, {}, NOWHERE)
        for name in ("provider", "model", "user_id", "finish_reason"):
            assert type(arguments.start_fields({name: value}, {}, NOWHERE)[name]) is str
        assert all(type(tag) is str for tag in tags(value))
        assert metadata(value)["plan"] == "free"
        with audit_context(user_id=value, tags=value, metadata=value) as context:
            assert type(context.user_id) is str
    assert tags(RaisingText("a")) == ["outer", "a"]
    assert arguments.call_identifier(RaisingText("id")) == "id"


def test_the_names_of_a_response_are_taken_where_one_given_cannot_be_read(tmp_path: Path) -> None:
    """A reason that raises costs neither the outcome nor the rest of the response."""
    response = {"model": "m-1", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    with recorded_nowhere(tmp_path) as calls:
        LLMLogger.complete(LLMLogger.start(), response=response, finish_reason=Raising())
        LLMLogger.complete(LLMLogger.start(), response=response, finish_reason="")
        outcomes = list(calls)
    assert [call.finish_reason for call in outcomes] == ["<Raising: ValueError>", "stop"]
    assert [call.response_model for call in outcomes] == ["m-1", "m-1"]
    assert {call.status for call in outcomes} == {"SUCCESS"}


def test_a_status_may_be_of_an_enum_of_the_users() -> None:
    """The value of a plain Enum counts, as it does for a call type."""
    outcome = Enum("outcome", {"BAD": "error"})

    assert status(outcome.BAD) is LLMCallStatusEnum.ERROR
