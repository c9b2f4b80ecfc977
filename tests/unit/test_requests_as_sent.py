"""A request is stored as the client sends it: no word for "not given", a schema for a class."""

import itertools
import sys
from collections import UserList, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import bson
import openai
import pytest
from openai.lib._parsing._completions import type_to_response_format_param
from openai.types.chat import ChatCompletionMessageParam
from packaging.version import Version
from pydantic import VERSION, BaseModel, TypeAdapter
from pydantic.fields import PydanticUndefined
from typing_extensions import TypedDict

from llm_audit import audit_context, configure
from llm_audit.context import NOWHERE, current_context
from llm_audit.encoding.encode import encode
from llm_audit.given import arguments

MESSAGE = {"role": "user", "content": "Paris?"}


class Unset(BaseModel):
    """What mistralai puts for what was not given: a model without fields."""


class Missing:
    """A class of the user's own that has such a name, and content."""

    def __init__(self) -> None:
        self.person = "Ann"


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    participants: list[str] = []


@dataclass
class Point:
    """A class of the standard library's."""

    x: int


class Place(TypedDict):
    """A dict with fields."""

    name: str


def get_weather(city: str, days: int = 3) -> str:
    """Tell the weather of a city."""
    raise AssertionError(f"called for {city}, {days}")


def start(**given: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields of a call as they are stored, and the notes."""
    own = {name: given.pop(name) for name in ("messages", "tools", "tool_choice") if name in given}
    encoded = encode(arguments.start_fields(own, given, NOWHERE), 2**24, 2**20)
    return bson.decode(encoded.raw), encoded.notes


def test_what_was_not_given_is_nowhere() -> None:
    """A client's word for "not given" leaves nothing, however deep it stands, and no note."""
    configure(strict=True)
    for absent in (
        *(openai.NOT_GIVEN, openai.omit, openai.Omit(), anthropic.NOT_GIVEN, anthropic.omit),
        *(Unset(), PydanticUndefined, ...),
    ):
        given = dict.fromkeys(arguments._ARGUMENTS, absent)
        assert arguments.checked(given, otherwise := {}) == {}
        assert otherwise == {}
        stored, notes = start(
            messages=[MESSAGE | {"name": absent}, absent],
            response_format=absent,
            stop=absent,
            extra={"a": absent, "b": [absent, 1, {"c": absent}]},
        )
        assert stored == {
            "messages": [MESSAGE],
            "request_params": {"extra": {"b": [1, {}]}},
        }
        assert notes == ()
        ids: dict[str, Any] = dict.fromkeys(("trace_id", "user_id", "tags", "metadata"), absent)
        before = current_context()
        with audit_context(**ids, one_trace=False):
            assert current_context() == before


def test_a_class_of_such_a_name_with_content_is_kept() -> None:
    """Only a value without content says that nothing was given."""

    @dataclass(slots=True)
    class Omit:
        x: int

    class Undefined(Exception):  # noqa: N818
        pass

    class NotSet(int):
        pass

    class Omitted:
        @property
        def __dict__(self) -> Any:
            raise RuntimeError("no")

    for given in (Missing(), Omit(1), Undefined("boom"), NotSet(5), Omitted()):
        stored, _ = start(person=given, metadata={"deep": [given]})
        assert stored["request_params"]["person"] is not None
        assert stored["request_params"]["metadata"]["deep"] != []


def test_a_class_is_stored_as_the_schema_that_the_client_sends() -> None:
    """OpenAI's and Anthropic's clients say what they send; others send what pydantic makes."""
    schema = Weather.model_json_schema()
    sent: dict[str, Any] = {
        "response_format": type_to_response_format_param(Weather),
        "output_format": {"type": "json_schema", "schema": anthropic.transform_schema(Weather)},
        "response_schema": schema,
    }
    for name, document in sent.items():
        stored, notes = start(**{name: Weather})
        assert stored == {"request_params": {name: document}}
        assert notes == (f"request_params.{name}: Weather stored as its JSON schema",)
    text_format = start(text_format=Weather)[0]["request_params"]["text_format"]
    assert text_format.keys() == {"type", "strict", "name", "schema"}
    assert text_format["schema"] == sent["response_format"]["json_schema"]["schema"]
    for kind in (Point, Place, list[Weather], Weather | None, TypeAdapter(Weather), bool):
        stored, [note] = start(config={"response_schema": kind})
        expected = kind.json_schema() if isinstance(kind, TypeAdapter) else None
        expected = expected or TypeAdapter(kind).json_schema()
        assert stored["request_params"]["config"]["response_schema"] == expected
        assert note.endswith("stored as its JSON schema")


def test_without_the_client_a_class_is_stored_as_pydantic_describes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No client is imported for it."""

    class Answer(BaseModel):
        text: str

    for client in ("openai", "anthropic"):
        monkeypatch.delitem(sys.modules, client)
    stored, _ = start(response_format=Answer, output_format=Answer)
    formats = stored["request_params"]
    assert formats["response_format"]["json_schema"]["schema"] == Answer.model_json_schema()
    assert formats["output_format"]["schema"] == Answer.model_json_schema()
    assert not {"openai", "anthropic"} & set(sys.modules)


def test_a_function_or_a_class_is_a_tool() -> None:
    """A tool is stored by its name, what it is for and its parameters; it is never called."""
    stored, notes = start(tools=[get_weather, Weather], config={"tools": [get_weather]})
    described, of_class = (tool["function"] for tool in stored["tools"])
    assert described["name"] == "get_weather"
    assert described["description"] == "Tell the weather of a city."
    assert described["parameters"]["required"] == ["city"]
    assert of_class["name"] == "Weather"
    assert of_class["parameters"]["properties"].keys() == {"city", "participants"}
    assert stored["request_params"]["config"]["tools"] == [stored["tools"][0]]
    assert len(notes) == 3


def test_what_has_no_schema_is_stored_as_before() -> None:
    """A class that pydantic cannot describe, and one that is content, is its repr."""

    class Odd:
        pass

    def odd(session: Odd) -> None:
        raise AssertionError(session)

    stored, notes = start(tools=[odd], response_format=Odd, messages=[MESSAGE | {"of": Weather}])
    assert "odd" in stored["tools"][0]
    assert "Odd" in stored["request_params"]["response_format"]
    assert "Weather" in stored["messages"][0]["of"]
    assert all(note.endswith("stored as its repr") for note in notes)


class Rereadable:
    """Items that can be read again and again, and nothing else."""

    def __iter__(self) -> Iterator[Any]:
        return iter([MESSAGE])


def test_messages_in_any_iterable_that_can_be_read_again() -> None:
    """They are the list, without a word in strict mode, and the app finds them as they were."""
    configure(strict=True)
    makes: tuple[Callable[[list[Any]], Iterable[Any]], ...] = (
        *(tuple, deque, UserList, iter, lambda items: dict(enumerate(items)).values()),
        *(lambda items: iter(tuple(items)), lambda items: iter(dict(enumerate(items)).values())),
        lambda _: Rereadable(),
    )
    for make in makes:
        given = make([MESSAGE])
        assert start(messages=given, tools=given) == (
            {"messages": [MESSAGE], "tools": [MESSAGE]},
            (),
        )
        assert list(given) == [MESSAGE]
        stored, _ = start(messages=[{"role": "user", "content": make([MESSAGE])}])
        if make is not makes[-1]:  # what else is in a message is not run through on a guess
            assert stored["messages"][0]["content"] == [MESSAGE]


def test_what_can_be_read_only_once_is_left_to_the_app() -> None:
    """A generator is not read, and a note says so."""
    configure(strict=True)
    given = (message for message in [MESSAGE])
    stored, [note] = start(messages=given)
    assert stored == {"request_params": {"messages": "<generator: not read>"}}
    assert note.startswith("request_params.messages: generator not read")
    assert list(given) == [MESSAGE]


def test_what_never_ends_stops_nobody() -> None:
    """An iterable without an end, or with millions of items, is not copied."""

    class Endless:
        def __iter__(self) -> Iterator[int]:
            return itertools.count()

    stored, [note] = start(messages=Endless())
    assert "messages" not in stored
    assert note.startswith("request_params.messages:")


def test_messages_that_pydantic_has_validated() -> None:
    """Its iterators over what was given are read, and left as they were."""
    call = {"id": "t", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Paris?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    chat = TypeAdapter(list[ChatCompletionMessageParam])
    given = [chat.validate_python(messages)]
    if Version(VERSION) >= Version("2.14.3"):  # the iterators of before cannot be looked into
        given.append(chat.dump_python(chat.validate_python(messages)))
    for validated in given:
        stored, notes = start(messages=validated)
        assert stored["messages"] == messages
        assert notes == ()
        assert next(iter(validated[1]["tool_calls"]))["id"] == "t"


def test_a_tool_that_is_an_object_is_stored_as_what_is_sent_for_it() -> None:
    """Its parameters are what it says they are, under the names that frameworks have for them."""

    @anthropic.beta_tool
    def get_time(city: str) -> str:
        """Tell the time."""
        raise AssertionError(city)

    @dataclass
    class AgentTool:
        name: str
        description: str
        params_json_schema: dict[str, Any]

    class ChainTool(BaseModel):
        name: str
        description: str
        args_schema: Any

    schema = Weather.model_json_schema()
    tools = [
        AgentTool("w", "weather", schema),
        ChainTool(name="w", description="weather", args_schema=Weather),
    ]
    stored, notes = start(tools=[get_time, *tools])
    function = {"name": "w", "description": "weather", "parameters": schema}
    assert stored["tools"][1:] == [{"type": "function", "function": function}] * 2
    assert stored["tools"][0] == get_time.to_dict()
    assert len(notes) == 3
