"""What is huge or has no end is recorded as far as there is room, and says what is missing."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from types import MappingProxyType
from typing import Any

import pytest
from bson import Code, DBRef
from hypothesis import given
from hypothesis import strategies as st
from lines_run import lines_run
from patience import share
from pydantic import BaseModel

from llm_audit import LLMLogger, audit_context
from llm_audit.encoding import bounds
from llm_audit.encoding.bounds import are_within
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.safe_text import safe_repr
from llm_audit.encoding.sanitise import sanitise
from llm_audit.given.failures import error_fields
from llm_audit.settings import changed_settings
from llm_audit.testing.records import RecordedCalls

pytestmark = pytest.mark.usefixtures("strangers")


@pytest.fixture
def strangers(
    monkeypatch: pytest.MonkeyPatch, llm_audit_records: RecordedCalls
) -> Iterator[RecordedCalls]:
    """Leave strict mode, and make the bounds small."""
    for name, most in {"MAX_NODES": 2_000, "FIELD_NODES": 10, "FIELD_BYTES": 1_000}.items():
        monkeypatch.setattr(bounds, name, most)
    monkeypatch.setattr(bounds, "MAX_BYTES", 100_000)
    with changed_settings(strict=False):
        yield llm_audit_records


class Stranger:
    """An object that counts how often it is asked what it is."""

    def __init__(self, name: str = "same") -> None:
        self.name = name
        self.asked = 0

    def __repr__(self) -> str:
        self.asked += 1
        return self.name


class Model(BaseModel):
    """A model that holds anything."""

    held: Any
    id: str = "1"


def bomb(levels: int = 60, width: int = 2, kind: Callable[[Any], Any] = list) -> Any:
    """Return containers in each other, each several times in the next one."""
    inside: Any = kind(["lol"] * width)
    for _ in range(levels):
        inside = kind([inside] * width)
    return inside


def mapped(items: list[Any]) -> dict[str, Any]:
    return {str(number): item for number, item in enumerate(items)}


def read_only(items: list[Any]) -> Mapping[str, Any]:
    return MappingProxyType(mapped(items))


class Endless(Mapping[str, Any]):
    """A mapping that holds nothing, and gives itself twice."""

    def __getitem__(self, name: str) -> Any:
        return self

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


def modelled(items: list[Any]) -> Model:
    return Model.model_construct(held=items)


def as_error(value: Any) -> BaseException:
    error = ValueError(value)
    error.__cause__ = KeyError(value)
    error.add_note("noted")
    return error


BOMBS: dict[str, Any] = {
    **{kind.__name__: bomb(kind=kind) for kind in (list, tuple, mapped, modelled)},
    "wide": bomb(5, 100),
    "long at its end": [["x"] * 10_000] * 10_000,
    "of dicts": [[{str(n): n for n in range(500)}] * 500] * 500,
    "below an object": {"a": Stranger(), "b": bomb()},
    "deep down": reduce(lambda inner, _: [inner], range(150), bomb()),
    "in a model": Model(held={"a": Model(held=bomb())}),
    "error": as_error(bomb()),
    "many": [{"n": n} for n in range(5_000)],
    "names": {Stranger(): n for n in range(5_000)},
    "read-only": bomb(kind=read_only),
    "endless": Endless(),
    "code": Code("return x", {"x": bomb()}),
    "reference": DBRef("calls", 1, None, x=bomb()),
}


def places(value: Any) -> dict[str, Callable[[], object]]:
    """Return all ways in which a value may be given."""

    def within() -> None:
        with audit_context(metadata={"a": value}, tags=value):
            LLMLogger.start()

    def end(**given: Any) -> Callable[[], object]:
        return lambda: LLMLogger.complete(LLMLogger.start(), **given)

    def start(**given: Any) -> Callable[[], object]:
        return lambda: LLMLogger.start(**given)

    return {
        "messages": start(messages=value),
        "a message": start(messages=[{"role": "user", "content": value}], user_id="u"),
        "tools": start(tools=value),
        "input": start(input=value, call_type=value),
        "metadata": start(metadata={"a": value}),
        "a parameter": start(other=value, temperature=value),
        "tags": start(tags=value),
        "context": within,
        "response": end(response={"choices": [{"message": value}], "usage": value}),
        "all of a response": end(response=value),
        "response_message": end(response_message={"role": "assistant", "content": value}),
        "tool calls": end(response_message={"role": "assistant", "tool_calls": value}),
        "tokens": end(tokens={"prompt_tokens": value}),
        "finish_reason": end(finish_reason=value, status=value, estimated_cost=value),
        "error": lambda: LLMLogger.fail(LLMLogger.start(), as_error(value)),
        "an error": lambda: LLMLogger.fail(LLMLogger.start(), value),
        "annotation": lambda: LLMLogger.annotate(LLMLogger.start(), metadata={"a": value}),
        "comment": lambda: LLMLogger.score(LLMLogger.start(), "s", 1, comment=value),
    }


def nodes_in(value: Any) -> int:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(nodes_in, values))


@pytest.mark.many
def test_what_has_no_end_is_recorded_wherever_it_is(
    llm_audit_records: RecordedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call is there, within the bounds."""
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0.1)
    recorded = 0
    for number, (name, value) in enumerate(BOMBS.items()):
        some = share(places(value).items(), 8, number)
        for _, record in some:
            record()
        recorded += len(some)
        assert len(llm_audit_records) == recorded, (name, [place for place, _ in some])
    for call in llm_audit_records:
        if call.encoding_notes:
            assert nodes_in(call.model_dump()) < 3 * bounds.MAX_NODES


def test_a_cost_that_is_code_costs_nothing(llm_audit_records: RecordedCalls) -> None:
    """What is no number is written out in Python's error, and code with all in its scope."""
    LLMLogger.complete(LLMLogger.start(), estimated_cost=BOMBS["code"])
    [call] = llm_audit_records
    assert (call.status, call.estimated_cost) == ("SUCCESS", None)


def test_what_is_left_out_is_noted_and_counted() -> None:
    """And costs no other field anything."""
    notes = Notes()
    fields = {
        "messages": [{"role": "user", "content": str(n)} for n in range(5_000)],
        "system_prompt": "x" * 150_000,
        "user_id": "u" * 100,
        "tags": ["a", "b"],
        "metadata": {"k": "v" * 100},
    }
    stored = sanitise(fields, notes)

    assert len(stored["messages"]) == 667
    assert stored["messages"][-1] == {"role": "user"}  # there was room for that
    assert len(stored["system_prompt"]) < 100_000
    assert {**fields, **stored} == {
        **stored,
        **{n: fields[n] for n in ("user_id", "tags", "metadata")},
    }
    missing = 150_000 - len(stored["system_prompt"])
    assert notes.lines() == (
        "messages.666: 1 values left out: 200,000 of a call are stored at the most",
        "messages: 4,333 values left out: 200,000 of a call are stored at the most",
        f"system_prompt: {missing:,} characters left out: a call may have 67,108,864",
    )


def test_a_long_list_of_numbers_is_copied_whole() -> None:
    """The tokens or the vectors of an embedding are no hostile content."""
    fields = {"input": [list(range(300_000)), [0.5] * 300_000], "odd": {1, 2}}
    assert sanitise(fields, Notes())["input"] == fields["input"]
    for odd in (2**70, "\ud800", Stranger()):
        assert len(sanitise({"input": [*range(1_500), odd]}, Notes())["input"]) == 1_501


def test_every_object_is_asked_once(llm_audit_records: RecordedCalls) -> None:
    """Its repr may take long, or be long."""
    for hold in (
        lambda one: [one],
        lambda one: {"a": one},
        lambda one: {one},
        lambda one: [{"a": ({"b": one},)}],
        lambda one: Model(held=[one]),
    ):
        one = Stranger()
        LLMLogger.start(metadata={"held": hold(one)})
        assert one.asked == 1, hold(0)
    assert len(llm_audit_records) == 5


def test_objects_that_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once their time is over, no further one is asked."""
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0)
    objects = [Stranger() for _ in range(100)]
    notes = Notes()
    stored = sanitise({"metadata": {"objects": objects}}, notes)["metadata"]["objects"]

    assert sum(one.asked for one in objects) < 100
    assert stored[-1] == "<Stranger: not read>"
    assert any("took too long" in line for line in notes.lines())


def test_keys_of_one_name_take_work_in_proportion() -> None:
    """Each is told apart by a number, without counting from the start."""

    def keys(count: int) -> dict[str, Any]:
        same = {Stranger(): n for n in range(count)}
        return {"metadata": {"same#7": "taken", **same}}  # type: ignore[dict-item]

    once, twice = (lines_run(lambda: sanitise(keys(n), Notes())) for n in (300, 600))  # noqa: B023
    stored = sanitise(keys(300), Notes())["metadata"]

    assert twice < 2.5 * once
    assert len(stored) == 301
    assert stored["same#7"] == "taken"


def test_errors_without_end_are_recorded(llm_audit_records: RecordedCalls) -> None:
    """However many are chained, grouped or noted, and if they lead back to themselves."""
    chained: BaseException = ValueError("first")
    for number in range(5_000):
        other = ValueError(str(number))
        other.__cause__, chained = chained, other
    noted = ValueError("noted")
    noted.__notes__ = ["note"] * 100_000
    cancelled, again = asyncio.CancelledError(), asyncio.CancelledError()
    cancelled.__context__, again.__context__ = again, cancelled
    circle = ValueError("circle")
    circle.__cause__ = KeyError()
    circle.__cause__.__cause__ = circle
    grouped: BaseException = ExceptionGroup("g", [ValueError(str(n)) for n in range(5_000)])
    for error in (chained, noted, cancelled, circle, grouped, ValueError("x" * 5_000_000)):
        LLMLogger.fail(LLMLogger.start(), error)
    for call in llm_audit_records:
        assert call.error_type
        assert len(str(call.error_message)) + len(str(call.error_traceback)) < 50_000


nested = st.recursive(
    st.integers() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=2), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | inner.map(lambda one: [one] * 3)
    ),
    max_leaves=30,
)


def test_a_text_that_is_there_many_times_is_not_written_out_each_time() -> None:
    """Small as it is in memory, it would take the process all that the machine has."""
    text = "a" * 1_000_000
    chained: BaseException | None = None
    for _ in range(200):
        error = ValueError(text)
        error.__context__, chained = chained, error
    lists: list[Any] = [[text] * 200, [{"a": text}] * 200, {"a": [(text,) * 200]}]
    gc.collect()  # which forgets dicts and tuples that hold no container
    for said in (*lists, *map(ValueError, lists), chained):
        tracemalloc.start()
        error_fields(said)
        safe_repr(said)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000_000, type(said)


@given(nested, st.integers(0, 60))
def test_the_quick_count_is_no_smaller_than_a_plain_one(value: Any, most: int) -> None:
    """Where it says that values are few, they are, but for leaves in small dicts and tuples."""

    def count(value: Any) -> int:
        if not isinstance(value, dict | list | tuple):
            return 0
        items = list(value.values() if isinstance(value, dict) else value)
        leaves = isinstance(value, dict | tuple) and not any(
            isinstance(i, dict | list | tuple) for i in items
        )
        return (0 if leaves else len(items)) + sum(map(count, items))

    if are_within({"": value}, most):
        assert count(value) <= most
    with suppress(RecursionError):
        loop: list[Any] = [value]
        loop.append(loop)
        assert not are_within({"": loop})


def test_vectors_are_no_hostile_content(llm_audit_records: RecordedCalls) -> None:
    """Of a batch of embeddings the vectors are stored where that is wanted; the rest is read."""
    vectors = [{"embedding": [0.5] * 1_024, "index": n} for n in range(300)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    body = {"object": "list", "data": vectors, "model": "e", "usage": usage}
    with changed_settings(embedding_vectors=True, strict=False):
        LLMLogger.complete(LLMLogger.start(call_type="EMBEDDING"), response=body)
    [call] = llm_audit_records

    assert call.prompt_tokens == 7
    assert [note for note in call.encoding_notes if "GridFS" not in note] == []
