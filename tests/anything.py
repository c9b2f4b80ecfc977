"""Whatever might come from elsewhere: BSON of every type, and documents that are bent a little.

A document that is made of nothing but chance is turned away at the first look. One that is as it
should be but for a few places gets further, so most are made like that.
"""

import signal
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import bson
from bson.datetime_ms import DatetimeMS
from properties import st
from recordable import VALUES as RECORDABLE


def _as_it_is(value: Any) -> Any:
    # Hypothesis looks which choices would give a value, and stumbles over subclasses of str, bytes
    # and int, which BSON has; it does not look through a function.
    return value


HANG_SECONDS = 20.0  # of computing, not of waiting: what one example may take at the very most

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        *(
            "",
            " ",
            "0",
            "-1",
            "1e999",
            "nan",
            "$",
            "$x",
            "a.b",
            "..",
            "../../x",
            "\0",
            "\n",
            "\r\n",
        ),
        *(
            "\x1b[2J",
            "\x9b31m",
            "\x1b]0;x\x07",
            "\u202e",
            "\u200b",
            "\ufeff",
            "\U000e0041",
            "\u2028",
        ),
        *(
            "[red]x[/red]",
            "[/]",
            ":smile:",
            "=1+1",
            "\uff1d1",
            "%s %d",
            "{0}",
            "{",
            "[" * 300,
            "a" * 5000,
        ),
        *("2026-05-01", "9999-12-31T23:59:59Z", "e677d21f-dbff-7000-8000-000000000000"),
        *("data:image/png;base64,AAAA", '{"a": {"b": 1}}', '"', "null", "NaN", "(a+)+$", "\\E.*"),
    ]
)
DATES = st.sampled_from(
    [
        *(
            datetime(2026, 5, 1, tzinfo=UTC),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, tzinfo=UTC),
        ),
        *(DatetimeMS(2**63 - 1), DatetimeMS(-(2**63)), DatetimeMS(10**15), DatetimeMS(0)),
    ]
)
NUMBERS = (
    st.integers(-(2**63), 2**63 - 1)
    | st.integers(-3, 300)
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1e308, 5e-324, 2**31, 2**53 + 1, 2**62])
)
SCALARS = st.one_of(
    *(TEXTS.map(_as_it_is), NUMBERS.map(_as_it_is), DATES, st.none(), st.booleans()),
    st.binary(max_size=8).map(_as_it_is),
    st.builds(bson.Binary, st.binary(max_size=8), st.integers(0, 255)),
    st.sampled_from(
        [
            *(bson.ObjectId("0" * 24), bson.MinKey(), bson.MaxKey(), bson.Timestamp(1, 1)),
            *(bson.Decimal128("0.5"), bson.Decimal128("NaN"), bson.Decimal128("1E+6144")),
            *(
                bson.Regex("(a+)+$"),
                bson.Regex("x", "imsx"),
                bson.Code("x"),
                bson.Code("x", {"a": 1}),
            ),
            bson.Binary.from_uuid(uuid.UUID(int=7)),
            *(bson.DBRef("x", 1), bson.DBRef("x", 1, "y", z=2)),
        ]
    ),
)
KEYS = TEXTS.filter(lambda key: "\0" not in key) | st.sampled_from(
    [
        *("role", "content", "type", "text", "id", "name", "arguments", "input", "tool_calls"),
        *("function", "gridfs_id", "length", "kind", "preview", "parts", "value", "key", "at"),
        *("$ref", "$id", "$oid", "$date", "$binary", "__proto__", "_id", "count", "reason"),
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def bent(draw: st.DrawFn, originals: Sequence[Any], values: st.SearchStrategy[Any] = VALUES) -> Any:
    """Draw one of several documents, and put something else into a few places of it.

    Args:
        draw: Hypothesis's.
        originals: What is as it should be.
        values: What may be put there.
    """
    document = _copied(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        there = list(places(document))
        container, key = draw(st.sampled_from(there))
        what = draw(st.sampled_from(["set", "set", "set", "remove", "again", "elsewhere"]))
        if what == "remove":
            del container[key]
        elif what == "again" and isinstance(container, list):
            container.insert(key, _copied(container[key]))
        elif what == "elsewhere":
            other, place = draw(st.sampled_from(there))
            container[key] = _copied(_get(other, place))
        else:
            container[key] = draw(values)
        if not document:
            break
    return document


def _copied(value: Any) -> Any:
    """Copy what is changed, and none of the objects in it."""
    if type(value) is dict:
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if type(value) is list else value


def _get(container: Any, place: Any) -> Any:
    try:
        return container[place]
    except LookupError:
        return None


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield everything in a value, as what it is in and under which key, outer things first."""
    level = [value]
    while level:
        inner = []
        for container in level:
            keys = container.keys() if isinstance(container, dict) else range(len(container))
            for key in keys:
                yield container, key
                inner.append(container[key])
        level = [part for part in inner if type(part) in {dict, list}]


class Hangs(BaseException):
    """What was tried still computes after a time in which anything is done."""


@contextmanager
def no_hang() -> Iterator[None]:
    """Raise `Hangs`, with the stack of where it does, if the block computes without end."""

    def strike(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGVTALRM, strike)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Hostile:
    """An object all of whose own code raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise ValueError

    __str__ = __bool__ = __iter__ = __len__ = __eq__ = __hash__ = __repr__  # type: ignore[assignment]


class Lying:
    """An object that has everything it is asked for, and each of it all the same."""

    def __getattr__(self, name: str) -> Any:
        return Lying()

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Return one more."""
        return Lying()

    def __getitem__(self, key: Any) -> Any:
        return Lying()


OBJECTS = st.one_of(
    *(st.integers(), st.decimals(), st.fractions(), st.complex_numbers(), st.datetimes()),
    *(st.timedeltas(), st.times(), st.uuids(), st.binary(), st.sets(st.integers())),
    *(st.builds(object), st.builds(Hostile), st.builds(Lying), st.builds(MagicMock)),
    st.sampled_from(list(RECORDABLE.values())),
    st.builds(ValueError, TEXTS),
    st.builds(lambda text: ExceptionGroup("g", [KeyError(text)]), TEXTS),
    st.text(st.characters(), max_size=8),  # surrogates, too
    st.sampled_from([lambda: 1, iter([1, 2]), range(5), type, NotImplemented, ..., 10**4000]),
)
PYTHON: st.SearchStrategy[Any] = st.recursive(
    SCALARS | OBJECTS,
    lambda inner: st.one_of(
        *(st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple)),
        st.dictionaries(KEYS | st.integers() | st.binary() | st.none(), inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(lambda given: SimpleNamespace(**given)),
    ),
    max_leaves=12,
)
