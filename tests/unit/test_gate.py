"""What the typed fields of a call hold, whatever anybody gives for them."""

from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from odd_values import ODD
from patience import share

from llm_audit import gate
from llm_audit.call import SCORES, TAGS, AtMost, CallFields, LLMCallStatusEnum
from llm_audit.documents import LLMCall
from llm_audit.encoding.encode import encode
from llm_audit.encoding.notes import Notes
from llm_audit.encoding.reading import READ_OPTIONS

TEXT_FIELDS = ("trace_id", "user_id", "model", "response_id", "finish_reason", "error_type")
LARGE: list[Any] = [
    *("A" * 70_000, "a" * 513, "é" * 600, "\U0001f600" * 600, ["x"] * 40_000, ["A" * 70_000]),
    *([["a"]], [{"a": 1}, None, "b"], {"$ne": 1}, {"a": {"b": []}}, [[[]]], "", [], {}, "a\0b"),
    *(
        10**400,
        2**63 - 1,
        -(2**63),
        1e300,
        float("inf"),
        float("-inf"),
        float("nan"),
        True,
        b"A" * 600,
    ),
    *(bson.Decimal128("Infinity"), bson.Decimal128("1.5"), bson.Int64(5), bson.MaxKey()),
]


def plain(**fields: Any) -> dict[str, Any]:
    """Return fields as they are read from BSON."""
    return bson.decode(encode(fields, 2**30, 2**30).raw, READ_OPTIONS)


def fitted(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the gate makes of fields, and its notes."""
    document, notes = plain(**fields), Notes()
    gate.fit(document, notes)
    return document, notes.lines()


def given() -> Iterator[tuple[str, Any]]:
    """Yield every field with everything that may be in its place, also one level down."""
    for name in CallFields.model_fields:
        for value in (*ODD, *(LARGE if name in gate.STAYING else ())):
            yield name, value
    for outer, inner in {"task": ("name", "root_id", "retries", "eager"), "scores": ()}.items():
        for name in inner:
            for value in (*ODD, *LARGE):
                yield outer, {name: value, "queue": "q"}
    for name in ("name", "value", "source", "comment", "at", "key"):
        for value in (*ODD, *LARGE):
            yield "scores", [{"name": "n", "value": 1, name: value}]


@pytest.mark.many
def test_whatever_is_given_for_a_field_it_holds_its_own_type() -> None:
    """What passed the gate is read whole, is small where it names, and passes again as it is."""
    for name, value in share(given(), 3):
        document, notes = fitted(**{name: value})
        where = f"{name}={value!r:.80}"
        call = LLMCall.model_validate({"_id": "1", "status": "SUCCESS", **document})

        assert call.unreadable == [], where
        assert notes or repr(document) == repr(plain(**{name: value})), where
        if name in gate.STAYING:
            assert len(bson.encode(document)) < 2 * 2**20, where
        again, none = fitted(**document)
        assert (repr(again), none) == (repr(document), ()), where


def test_the_quick_look_and_the_careful_one_agree() -> None:
    """What surely fits is not changed: else it would be stored as it was given."""
    for name, value in given():
        if gate.fits({name: value}):  # which no value makes raise
            assert fitted(**{name: value})[1] == (), f"{name}={value!r:.80}"
    usual = {"trace_id": "t", "tags": ["a"], "status": LLMCallStatusEnum.SUCCESS, "max_tokens": 5}
    assert gate.fits(
        usual | {"temperature": 0.5, "task": {"name": "n"}, "outcome_key": bson.Int64(1)}
    )


@pytest.mark.parametrize("name", TEXT_FIELDS)
def test_a_name_that_is_too_long_is_cut_and_stays_apart_from_others(name: str) -> None:
    """Two tenants whose ids only begin alike stay two, and the whole id finds the cut one."""
    one, other = f"{'A' * 600}1", f"{'A' * 600}2"
    document, notes = fitted(**{name: one})

    assert len(document[name]) == AtMost().characters
    assert document[name].startswith("A" * 400)
    assert document[name] == gate.shortened(one) != gate.shortened(other)
    assert notes == (f"{name}: 601 characters, cut to 512",)


def test_lists_are_bounded() -> None:
    """Tags, the names of tools and scores are so many at most, and together not too large."""
    tags, notes = fitted(tags=[str(n) for n in range(5_000)])
    assert (tags["tags"], notes) == (
        [str(n) for n in range(TAGS.items)],
        ("tags: 5000 items, cut to 100",),
    )
    scores, _ = fitted(scores=[{"name": str(n), "value": 1} for n in range(500)])
    assert len(scores["scores"]) == SCORES.items
    tools, _ = fitted(tools_called=["weather"] * 20_000)
    assert len(tools["tools_called"]) == 20_000
    wrong, notes = fitted(tags=[5.5] * 100_000)
    assert (wrong["tags"], len(notes)) == ([], 51)  # the notes have a bound of their own
    many, _ = fitted(tools_called=["n" * 500] * 20_000)
    assert sum(map(len, many["tools_called"])) <= gate.LISTED_MAX_CHARACTERS


def test_documents_are_fitted_as_they_lie_in_a_journal() -> None:
    """BSON that was not decoded is no other than what it holds."""
    raw = RawBSONDocument(bson.encode({"task": {"name": "n" * 600, "own": 1}, "tags": ["a", 1]}))
    fields = dict(raw.items())
    gate.fit(fields, Notes())

    assert (len(fields["task"]["name"]), fields["task"]["own"], fields["tags"]) == (
        512,
        1,
        ["a", "1"],
    )
