"""Whatever code a value brings along, the call ends, and soon, and what was given is kept."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from unittest.mock import MagicMock

import pytest
from patience import share
from recordable import VALUES, assert_json, record

from llm_audit import LLMLogger
from llm_audit.settings import changed_settings
from llm_audit.testing.records import RecordedCalls

GIVEN = "response tokens response_message finish_reason response_model estimated_cost status error"
OF_BODY = "id model choices usage error object output candidates message generations data results"
OF_USAGE = "prompt_tokens cost prompt_tokens_details iterations service_tier"
OF_ERROR = "response code body request_id retry_after completion status_code"
MESSAGE = {"role": "assistant", "content": "Paris."}


class Unreadable:
    """An object of which not even the class can be asked for."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(name)


class Unequal(dict[str, Any]):
    """A dict that has no truth and no items."""

    def __bool__(self) -> NoReturn:
        raise RuntimeError

    get = items = __iter__ = __contains__ = __bool__  # type: ignore[assignment]


class Answering(type):
    """A class whose own class has an answer to any name, or none at all."""

    def __getattr__(cls, name: str) -> Any:
        if cls.__name__ == "Mute":
            raise RuntimeError(name)
        return [name]


class Parent:
    """An object that its own parts lead back to."""

    def __init__(self) -> None:
        self.parts = [self] * 4


class Missing(Exception):  # noqa: N818 - named as some clients name what was not given
    """An error of the app's."""


@pytest.fixture(name="recorded")
def recorded_as_in_production(llm_audit_records: RecordedCalls) -> Iterator[RecordedCalls]:
    """Leave strict mode, which raises what is told here."""
    with changed_settings(strict=False):
        yield llm_audit_records


def values() -> list[Any]:
    itself: list[Any] = []
    itself += [itself] * 3
    within: dict[str, Any] = {}
    within |= {"choices": [within] * 3, "usage": within, "error": within}
    odd = [Unreadable(), Unequal(a=1), Parent(), Answering("Vocal", (), {})()]
    odd += [Answering("Mute", (), {})(), MagicMock(spec=dict)]
    return [*odd, itself, within, 10**6000]


def ends(value: Any) -> list[Callable[[str], object]]:
    """Return all ways in which a value may be in what ends a call."""

    def failure(name: str) -> Exception:
        error = RuntimeError("boom")
        setattr(error, name, value)
        return error

    bodies = [{name: value} for name in OF_BODY.split()]
    bodies += [{"choices": [{"message": MESSAGE}, value]}, {"choices": [{"message": value}]}]
    bodies += [{"choices": [], "usage": {"prompt_tokens": 1, n: value}} for n in OF_USAGE.split()]
    given = [{name: value} for name in GIVEN.split()]
    given += [{"response": body} for body in (*bodies, [value, *bodies])]
    errors = [value, *map(failure, OF_ERROR.split())]
    return [
        *(lambda i, g=one: LLMLogger.complete(i, **g) for one in given),
        *(lambda i, e=one: LLMLogger.fail(i, e) for one in errors),
    ]


@pytest.mark.many
def test_no_value_keeps_a_call_from_ending(recorded: RecordedCalls) -> None:
    """Its code may raise, and it may hold itself."""
    ways: list[Callable[[str], object]] = []
    for number, value in enumerate(values()):
        # what holds itself is gone through as far as the bounds let it: each somewhere else
        takes_long = type(value) in {list, dict}
        ways += share(ends(value), 12, number) if takes_long else ends(value)
    for end in ways:
        end(LLMLogger.start(provider="openai", model="gpt-4o"))
    assert len(recorded) == len(ways)
    assert all(call.status != "PENDING" for call in recorded)


def test_what_cannot_be_read_is_kept_as_it_was_given(recorded: RecordedCalls) -> None:
    """The call says so, and what can be read without asking the value stands where it belongs."""
    body = {"id": Unreadable(), "choices": [{"message": MESSAGE}]}
    LLMLogger.complete(LLMLogger.start(), response=body, response_message=MESSAGE)
    LLMLogger.fail(LLMLogger.start(), RuntimeError("boom"), response=body, status="CANCELLED")
    completed, failed = recorded
    for call in recorded:
        [kept] = call.response_extra["llm_audit"].values()
        assert kept["response"]["choices"] == body["choices"]
        assert any("not read" in note for note in call.encoding_notes)
    assert (completed.status, completed.response_message) == ("SUCCESS", MESSAGE)
    assert (failed.status, failed.error_type) == ("CANCELLED", "RuntimeError")
    assert failed.error_message == "boom"


def test_a_class_that_answers_anything_costs_an_end_nothing(recorded: RecordedCalls) -> None:
    """What stands beside an object of it is read as ever."""
    for name in ("Vocal", "Mute"):
        message = MESSAGE | {"odd": Answering(name, (), {})()}
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        LLMLogger.complete(LLMLogger.start(), response_message=message, tokens=usage)
        assert recorded[-1].total_tokens == usage["total_tokens"], name
        assert recorded[-1].response_message["content"] == MESSAGE["content"]


def test_a_value_of_every_kind_is_read_back(recorded: RecordedCalls) -> None:
    """Wherever it is: the calls are whole, and become JSON."""
    for name, value in VALUES.items():
        record(name, value)
    assert [call.model for call in recorded] == [name for name in VALUES for _ in range(2)]
    for call in recorded:
        assert call.status == ("ERROR" if call.error_type else "SUCCESS")
        assert_json(call)


@pytest.mark.parametrize("end", [LLMLogger.fail, lambda i, e: LLMLogger.complete(i, error=e)])
def test_an_error_is_one_whatever_its_name(
    end: Callable[[str, Exception], object], recorded: RecordedCalls
) -> None:
    """An exception never says that nothing was given."""
    end(LLMLogger.start(), Missing("boom"))
    [call] = recorded
    assert (call.status, call.error_type, call.error_message) == ("ERROR", "Missing", "boom")
