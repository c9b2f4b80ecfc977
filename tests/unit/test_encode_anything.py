"""Nothing that a user hands over breaks recording, nor costs the rest of the call."""

import collections
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest.mock import MagicMock

import bson
import pytest
from properties import given, st
from pydantic import BaseModel, ConfigDict

from llm_audit.encoding.encode import Encoded, encode

MAX_LEVELS = 100


def encode_value(value: Any) -> Encoded:
    """Encode a value with neighbours, and check what holds for every encoded document."""
    encoded = encode({"before": "kept", "value": value, "after": [1]}, 2**24, 2**18)
    document = bson.decode(encoded.raw)
    levels, types = survey(document)
    assert levels <= MAX_LEVELS
    assert bson.DBRef not in types
    assert bson.decode(bson.encode({"notes": encoded.notes})) == {"notes": list(encoded.notes)}
    assert (document["before"], document["after"]) == ("kept", [1])
    return encoded


def stored(encoded: Encoded) -> Any:
    return bson.decode(encoded.raw)["value"]


def survey(document: dict[str, Any]) -> tuple[int, set[type]]:
    """Count the levels below a document and collect the types in it."""
    levels, types = 0, set()
    level: list[Any] = [document]
    while True:
        values = [v for c in level for v in (c.values() if isinstance(c, dict) else c)]
        types |= {type(value) for value in values}
        level = [value for value in values if isinstance(value, (dict, list))]
        if not level:
            return levels, types
        levels += 1


def nested(levels: int, wrap: Callable[[Any], Any] = lambda value: {"a": value}) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = wrap(value)
    return value


@dataclasses.dataclass
class _Part:
    kind: str
    items: list[Any]


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: str
    reply: "_Message | None" = None


class _ReprRaises:
    def __repr__(self) -> str:
        raise ValueError("no repr")


class _DumpRaises:
    def __init__(self) -> None:
        self.kept = 1

    def model_dump(self, **_: Any) -> dict[str, Any]:
        raise RuntimeError("no dump")


class _DumpsItself:
    def model_dump(self, **_: Any) -> Any:
        return self


class _DumpsAnother:
    def model_dump(self, **_: Any) -> Any:
        return _DumpsAnother()


class _PropertyRaises:
    @property
    def __class__(self) -> Any:
        raise ValueError("no class")


class _LyingDict(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("no items")

    def __iter__(self) -> Any:
        raise ValueError("no keys")

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)


class _BrokenMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


class _BrokenIterator(list[Any]):
    def __iter__(self) -> Any:
        raise ValueError("no elements")


def test_cycles_are_cut() -> None:
    """A value that holds itself ends in a marker; a value that merely occurs twice does not."""
    loop: list[Any] = [1]
    loop.append({"again": loop})
    message = _Message(role="user", extra=1)
    message.reply = message
    twice = [1]

    encoded = encode_value([loop, message, twice, twice])

    assert stored(encoded) == [
        [1, {"again": "<list: cyclic reference>"}],
        {"role": "user", "reply": "<_Message: cyclic reference>", "extra": 1},
        [1],
        [1],
    ]
    assert encoded.notes == (
        "value.0.1.again: cyclic reference left out",
        "value.1.reply: cyclic reference left out",
    )


@pytest.mark.parametrize(
    "wrap",
    [lambda v: {"a": v}, lambda v: [v], lambda v: [{"a": 1.5, "b": v}]],
    ids=["dicts", "lists", "both"],
)
def test_nesting_is_kept_up_to_the_limit(wrap: Callable[[Any], Any]) -> None:
    """What the server takes is stored as it is."""
    value = nested(MAX_LEVELS // survey({"": wrap(1)})[0], wrap)
    encoded = encode_value(value)

    assert stored(encoded) == value
    assert encoded.notes == ()


@pytest.mark.parametrize("levels", [101, 200])
def test_deeper_nesting_becomes_json_text(levels: int) -> None:
    """What lies below 100 levels is JSON text that says the same."""
    encoded = encode_value(nested(levels))

    value = stored(encoded)
    for _ in range(MAX_LEVELS):
        value = value["a"]
    assert json.loads(value) == nested(levels - MAX_LEVELS)
    assert len(encoded.notes) == 1
    assert encoded.notes[0].endswith(": deeper than 100 levels, stored as JSON text")


@pytest.mark.parametrize("wrap", [lambda v: {"a": v}, lambda v: [v]], ids=["dicts", "lists"])
def test_bottomless_nesting_is_cut(wrap: Callable[[Any], Any]) -> None:
    """100,000 levels neither raise nor cost the rest of the call."""
    encoded = encode_value(nested(100_000, wrap))

    assert len(encoded.notes) == 1
    assert encoded.notes[0].endswith(": deeper than 100 levels, cut to a short repr")


def test_width_is_not_depth() -> None:
    """Thousands of messages side by side need no note."""
    value = [{"role": "user", "content": [{"text": str(n)}]} for n in range(5_000)]
    encoded = encode_value(value)

    assert stored(encoded) == value
    assert encoded.notes == ()


@pytest.mark.parametrize(
    ("value", "expected", "note"),
    [
        (_ReprRaises(), "<_ReprRaises: ValueError>", "_ReprRaises stored as its repr"),
        (
            _DumpRaises(),
            {"kept": 1},
            "_DumpRaises.model_dump failed (RuntimeError), fields kept",
        ),
        (_DumpsItself(), "<_DumpsItself: cyclic reference>", "cyclic reference left out"),
        (
            _DumpsAnother(),
            "<_DumpsAnother: RecursionError>",
            "_DumpsAnother unreadable (RecursionError)",
        ),
        (_BrokenMapping(), "<_BrokenMapping: KeyError>", "_BrokenMapping unreadable (KeyError)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_hostile_object_costs_only_itself(value: Any, expected: Any, note: str) -> None:
    """An object whose own code raises is a marker; what stands beside it is stored."""
    encoded = encode_value([1, value, 2])

    assert stored(encoded) == [1, expected, 2]
    assert encoded.notes == (f"value.1: {note}",)


@pytest.mark.parametrize(
    "make",
    [_PropertyRaises, MagicMock, object, lambda: lambda: 1],
    ids=["property", "mock", "object", "function"],
)
def test_an_unknown_object_is_its_repr(make: Callable[[], Any]) -> None:
    """What has no better form is stored as text and noted."""
    encoded = encode_value([1, make(), 2])

    assert stored(encoded)[0::2] == [1, 2]
    assert isinstance(stored(encoded)[1], str)
    assert len(encoded.notes) == 1


def test_subclasses_that_lie_are_read_for_what_they_hold() -> None:
    """A dict or list subclass with broken methods is stored with its real content."""
    encoded = encode_value([_LyingDict(a=1), _BrokenIterator([1]), {2}])

    assert stored(encoded) == [{"a": 1}, [1], [2]]


def test_a_long_repr_is_cut() -> None:
    """No more than 2,000 characters of a repr are stored, and its length is told."""

    class Verbose:
        def __repr__(self) -> str:
            return "x" * 5_000

    assert stored(encode_value(Verbose())) == "x" * 2_000 + "… (5000 characters)"


def test_generators_are_not_consumed() -> None:
    """The audited code still finds every element in its generator."""
    numbers = (n for n in range(3))
    encoded = encode_value({"stream": numbers})

    assert list(numbers) == [0, 1, 2]
    assert stored(encoded)["stream"] == "<generator: not read>"
    [note] = encoded.notes
    assert note.startswith("value.stream: generator not read")


def test_interrupts_pass() -> None:
    """KeyboardInterrupt is not content: it goes up to the caller."""

    class Interrupted:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_value(Interrupted())


def test_little_stack_left_costs_only_the_deep_value() -> None:
    """Called near the recursion limit, encoding still keeps what is shallow."""

    def descend(levels: int) -> Encoded:
        return descend(levels - 1) if levels else encode_value([nested(90), {1}])

    depth = 0
    frame: Any = sys._getframe()
    while frame := frame.f_back:
        depth += 1
    encoded = descend(sys.getrecursionlimit() - depth - 200)

    assert stored(encoded)[1] == [1]
    assert any("RecursionError" in note for note in encoded.notes)


def test_notes_end_with_how_many_more_there_were() -> None:
    """Fifty notes are kept, and the number of the others."""
    encoded = encode_value([{n} for n in range(120)])

    assert len(encoded.notes) == 51
    assert encoded.notes[-1] == "and 70 more"


def test_a_note_is_short_and_storable_whatever_the_path() -> None:
    """Long and broken keys do not get into a note as they are."""
    encoded = encode_value({"k" * 100_000: {"\ud800\0": {1}}})

    assert max(map(len, encoded.notes)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_comes_back_equal_unless_noted(value: Any) -> None:
    """Any JSON value without a note is read back as it was."""
    encoded = encode_value(value)

    assert (stored(encoded) == value) is (encoded.notes == ())


KEYS = (
    st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["$ref", "$id", "$db", "a.b", ""])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.binary()
    | st.tuples(st.integers())
)
HASHABLE = KEYS | st.datetimes() | st.dates() | st.times() | st.timedeltas() | st.uuids()
ANYTHING = st.recursive(
    HASHABLE
    | st.decimals()
    | st.complex_numbers()
    | st.builds(_ReprRaises)
    | st.builds(_DumpRaises)
    | st.floats(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.dictionaries(KEYS, inner).map(collections.UserDict)
        | st.builds(_Part, st.text(), st.lists(inner))
        | st.sets(HASHABLE)
    ),
)


@given(ANYTHING)
def test_anything_can_be_encoded(value: Any) -> None:
    """Whatever comes in, a document comes out that any reader can decode."""
    encoded = encode_value(value)

    # a key that looks as if it had been renamed is renamed once more
    again = encode_value(stored(encoded)).notes
    assert [note for note in again if not note.endswith("not to make a DBRef")] == []
