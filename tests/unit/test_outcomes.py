"""How a call ended, read from a response."""

import dataclasses
import math
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from openai.types.chat import ChatCompletionMessage
from outcome_fields import response_fields

from llm_audit import UsageError, configure


def fields_of_response(**given: Any) -> dict[str, Any]:
    rest = {name: given.pop(name, None) for name in ("response", "tokens", "estimated_cost")}
    return response_fields(given=given, asked=("openai", "gpt-4o"), **rest)


@dataclasses.dataclass(slots=True)
class Message:
    """A message in a user's own type."""

    role: str
    content: str


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "hi", "unknown": 1},
        Message("assistant", "hi"),
        ChatCompletionMessage(role="assistant", content="hi"),
        {},
    ],
    ids=["dict", "dataclass", "openai", "empty"],
)
def test_a_message_stays_what_it_is(message: Any) -> None:
    """Dicts, dataclasses and the SDKs' objects go to the encoder as they are."""
    configure(strict=True)
    assert fields_of_response(response_message=message)["response_message"] is message


def test_the_fields_of_an_object_are_its_message() -> None:
    """An object of an unknown kind is stored by its attributes."""
    configure(strict=True)
    message = SimpleNamespace(role="assistant", content="hi")
    stored = fields_of_response(response_message=message)["response_message"]
    assert stored == {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize("message", [MagicMock(), Message], ids=["mock", "class"])
def test_a_message_is_stored_as_a_document(message: Any) -> None:
    """A mock, which has every method, and a class are stored as what a call's model can read."""
    stored = fields_of_response(response_message=message)["response_message"]
    assert isinstance(stored, dict)


@pytest.mark.parametrize("message", ["hi", ["hi"], 5, b"hi"], ids=["str", "list", "int", "bytes"])
def test_what_is_no_message_is_a_mistake(message: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Content without a message raises in strict mode; else it becomes the content of one."""
    configure(strict=True)
    with pytest.raises(UsageError, match="response_message"):
        fields_of_response(response_message=message)
    configure(strict=False)
    stored = fields_of_response(response_message=message)["response_message"]
    assert stored == {"role": "assistant", "content": message}
    assert len(caplog.messages) == 1


def test_tools_called_are_listed() -> None:
    """The names of the tools that a message asks for are a field of their own."""
    calls = [{"type": "function", "function": {"name": name}} for name in ("search", "search")]
    fields = fields_of_response(response_message={"role": "assistant", "tool_calls": calls})
    assert fields["tools_called"] == ["search", "search"]
    assert "malformed_tool_calls" not in fields


def test_malformed_tool_calls_are_listed() -> None:
    """So are those of them whose arguments no program can read."""
    calls = [
        {"type": "function", "function": {"name": "search", "arguments": arguments}}
        for arguments in ("{}", '{"query": "Par')
    ]
    fields = fields_of_response(response_message={"role": "assistant", "tool_calls": calls})
    assert fields["malformed_tool_calls"] == ["search"]


@pytest.mark.parametrize("count", [-5, 1.5, "many", 2**70])
def test_what_is_no_token_count_is_a_mistake(count: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A negative or broken count raises in strict mode; else the other counts are kept."""
    tokens = {"prompt_tokens": count, "completion_tokens": 2}
    configure(strict=True)
    with pytest.raises(UsageError, match="prompt_tokens"):
        fields_of_response(tokens=tokens)
    configure(strict=False)
    fields = fields_of_response(tokens=tokens)
    assert "prompt_tokens" not in fields
    assert fields["completion_tokens"] == 2
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("cost", [0.5, "0.5", Decimal("0.5")], ids=["float", "str", "Decimal"])
def test_a_given_cost_counts(cost: Any) -> None:
    """A cost from the caller is stored as such, whatever the price list says."""
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    fields = fields_of_response(tokens=tokens, estimated_cost=cost)
    assert (fields["estimated_cost"], fields["cost_source"]) == (0.5, "caller")


def test_a_cost_not_given_is_computed() -> None:
    """Without a cost, the model's price and the tokens give it, and say where it comes from."""
    fields = fields_of_response(tokens={"prompt_tokens": 10, "completion_tokens": 5})
    assert fields["estimated_cost"] > 0
    assert fields["cost_source"].startswith("genai-prices")


@pytest.mark.parametrize("cost", [-1, math.nan, math.inf, 10**400, "much", True, object()])
def test_what_is_no_cost_is_a_mistake(cost: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A cost that cannot be raises in strict mode; else there is none."""
    configure(strict=True)
    with pytest.raises(UsageError, match="estimated_cost"):
        fields_of_response(estimated_cost=cost)
    configure(strict=False)
    assert fields_of_response(estimated_cost=cost) == {}
    assert len(caplog.messages) == 1
