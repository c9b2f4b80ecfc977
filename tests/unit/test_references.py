"""A call reference: a plain str wherever it goes, and awaitable."""

import asyncio
import copy
import json
import pickle
from collections.abc import Awaitable, Callable

import bson
import kombu.serialization
import pytest
from pydantic import BaseModel, TypeAdapter

import llm_audit
from llm_audit.references import CallReference

REFERENCE = CallReference("01a20864-7a12-7436-b163-6d2eb3803d69")


class Model(BaseModel):
    """What a user may put a reference into."""

    call_id: str


@pytest.fixture(params=["journal", "acknowledged"], autouse=True)
def durability(request: pytest.FixtureRequest) -> None:
    """A reference is the same whatever awaiting it waits for."""
    llm_audit.configure(durability=request.param)


async def test_awaiting_gives_the_reference() -> None:
    """`await` gives the same reference, every time."""
    assert await REFERENCE is REFERENCE
    assert await REFERENCE is REFERENCE
    assert isinstance(REFERENCE, Awaitable)


async def test_wait_for_takes_it() -> None:
    """asyncio.wait_for takes a reference as it takes a coroutine."""
    assert await asyncio.wait_for(REFERENCE, 5) == REFERENCE


async def test_gather_takes_it() -> None:
    """asyncio.gather takes references as it takes coroutines."""
    other = CallReference("b")
    assert await asyncio.gather(REFERENCE, other) == [REFERENCE, other]


def test_it_is_a_str() -> None:
    """It equals, hashes and formats as its id."""
    plain = str(REFERENCE)
    assert type(plain) is str
    assert plain == REFERENCE
    assert {REFERENCE: 1}[plain] == 1
    assert f"{REFERENCE}" == plain


def test_json_takes_it() -> None:
    """JSON has it as a string, also as a key."""
    assert json.loads(json.dumps({REFERENCE: REFERENCE})) == {str(REFERENCE): str(REFERENCE)}


def test_bson_takes_it() -> None:
    """BSON stores it as a string."""
    stored = bson.decode(bson.encode({"call_id": REFERENCE}))["call_id"]
    assert (type(stored), stored) == (str, REFERENCE)


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_kombu_takes_it(serializer: str) -> None:
    """As the argument of a Celery task it arrives as a plain str."""
    content_type, encoding, body = kombu.serialization.dumps([REFERENCE], serializer=serializer)
    (arrived,) = kombu.serialization.loads(body, content_type, encoding, accept=[content_type])
    assert (type(arrived), arrived) == (str, REFERENCE)


def test_pydantic_takes_it() -> None:
    """A pydantic field of type str takes it, also strictly, and dumps it."""
    assert Model(call_id=REFERENCE).model_dump_json() == f'{{"call_id":"{REFERENCE}"}}'
    assert TypeAdapter(str).validate_python(REFERENCE, strict=True) == REFERENCE


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_gives_a_plain_str(protocol: int) -> None:
    """What was pickled is a plain str, so whoever reads it needs no llm_audit."""
    pickled = pickle.dumps(REFERENCE, protocol)
    assert b"llm_audit" not in pickled
    assert type(pickle.loads(pickled)) is str
    assert pickle.loads(pickled) == REFERENCE


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copying_gives_a_plain_str(duplicate: Callable[[str], str]) -> None:
    """A copy is a plain str of the same id."""
    copied = duplicate(REFERENCE)
    assert (type(copied), copied) == (str, REFERENCE)


def test_it_keeps_no_state() -> None:
    """A reference has no attributes of its own, so it can outlive its process."""
    with pytest.raises(AttributeError):
        REFERENCE.note = "x"


def test_awaiting_where_nothing_was_recorded() -> None:
    """Before this process has recorded anything there is nothing to wait for, loop or no loop."""
    with pytest.raises(StopIteration) as returned:
        next(REFERENCE.__await__())
    assert returned.value.value is REFERENCE


@pytest.mark.parametrize("timeout_seconds", [0, 5, None])
def test_waiting_where_nothing_was_recorded(timeout_seconds: float | None) -> None:
    """`wait` is true at once in a process that has recorded nothing."""
    assert REFERENCE.wait(timeout_seconds) is True
