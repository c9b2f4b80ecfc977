import json
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any, get_args

import pytest
import uuid_utils
from local_time import local_time

from llm_audit import LLMCallStatusEnum, LLMCallTypeEnum, UsageError, pipelines
from llm_audit.queries.filters import CallFilters, condition
from llm_audit.queries.grouping import GroupBy
from llm_audit.queries.instructions import Instructions, instructions
from llm_audit.queries.pipelines.finding import not_searched, read_back
from llm_audit.queries.views import VIEWS
from llm_audit.references import CallReference
from llm_audit.settings import changed_settings

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVERY_FILTER: dict[str, Any] = {
    "call_type": [LLMCallTypeEnum.CHAT, "agent"],
    "status": LLMCallStatusEnum.ERROR,
    "provider": "openai",
    "model": ["gpt-4", "gpt-5"],
    "trace_id": uuid.UUID(int=7),
    "session_id": 7,
    "user_id": CallReference("u"),
    "company_id": [1, uuid.UUID(int=2)],
    "review_id": "r",
    "task_id": "t",
    "attempt_id": "a",
    "workflow_id": "w",
    "task_name": "app.tasks.answer",
    "queue": ["slow", "fast"],
    "worker": "w@host",
    "parent_call_id": uuid_utils.UUID(int=7),
    "tags": ["rag", "hidden"],
    "tool": ["search", "read"],
    "score": ["helpful", "tone"],
    "environment": "production",
    "service": ["api", "worker"],
    "captured_by": ["httpx", "httpx2"],
    "process_nonce": "n",
    "error_type": "RateLimitError",
    "ended_by": ["worker_lost", "exception"],
    "start_date": NOON - timedelta(days=1),
    "end_date": NOON,
    "prompt_of": Instructions([{"type": "text", "text": "$literal"}]),
    "min_latency_ms": 5,
    "max_latency_ms": 1e4,
}
SUMMARIES = [
    pipelines.tool_usage,
    pipelines.failure_summary,
    pipelines.cost_summary,
    pipelines.latency_summary,
    pipelines.usage_over_time,
    pipelines.retry_spend,
    pipelines.task_summary,
    pipelines.worker_summary,
    pipelines.prompt_summary,
    partial(pipelines.score_summary, "helpful"),
]


def uuid7_at(milliseconds: int, rest: str) -> str:
    digits = f"{milliseconds:012x}7{rest}"
    return str(uuid.UUID(hex=digits.ljust(32, rest)))


@pytest.mark.parametrize("summary", SUMMARIES)
def test_stages_are_plain_json(summary: Any) -> None:
    """Stages survive JSON unchanged, so any driver takes them and mongosh takes their text."""
    stages = summary(**EVERY_FILTER)

    assert json.loads(json.dumps(stages)) == stages
    assert summary() != stages


@pytest.mark.parametrize("summary", SUMMARIES)
def test_stages_are_new_every_time(summary: Any) -> None:
    """Whoever adds to the stages does not change what the next caller gets."""
    untouched = json.dumps(summary())
    spoil(summary())

    assert json.dumps(summary()) == untouched


def spoil(value: Any) -> None:
    """Empty every list and dict, from the inside out."""
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            spoil(part)
        value.clear()


def test_every_filter_becomes_a_condition() -> None:
    """Each filter restricts the field that documents hold, in the form they hold it in."""
    assert condition(EVERY_FILTER) == {
        "call_type": {"$in": ["CHAT", "AGENT"]},
        "status": "ERROR",
        "provider": "openai",
        "model": {"$in": ["gpt-4", "gpt-5"]},
        "trace_id": "00000000-0000-0000-0000-000000000007",
        "session_id": "7",
        "user_id": "u",
        "company_id": {"$in": ["1", "00000000-0000-0000-0000-000000000002"]},
        "review_id": "r",
        "task_id": "t",
        "task.attempt_id": "a",
        "$or": [{"task.root_id": "w"}, {"task.group_id": "w"}, {"trace_id": "w"}],
        "task.name": "app.tasks.answer",
        "task.queue": {"$in": ["slow", "fast"]},
        "task.worker": "w@host",
        "parent_call_id": "00000000-0000-0000-0000-000000000007",
        "tags": {"$all": ["rag", "hidden"]},
        "tools_called": {"$in": ["search", "read"]},
        "scores.name": {"$in": ["helpful", "tone"]},
        "environment": "production",
        "service": {"$in": ["api", "worker"]},
        "captured_by": {"$in": ["httpx", "httpx2"]},
        "process_nonce": "n",
        "error_type": "RateLimitError",
        "ended_by": {"$in": ["worker_lost", "exception"]},
        "_id": {"$gte": "019dde42-9a00", "$lt": "019de368-f600"},
        "latency_ms": {"$gte": 5.0, "$lt": 10_000.0},
        "$expr": {"$eq": [instructions(), {"$literal": [{"type": "text", "text": "$literal"}]}]},
    }
    assert {*EVERY_FILTER, "excluding", "missing"} == CallFilters.__annotations__.keys()


def test_what_is_missing_is_null_or_not_there() -> None:
    """Asked for together with a value of the same field, nothing is."""
    assert condition({"missing": ["task_name", "company_id"]}) == {
        "task.name": None,
        "company_id": None,
    }
    assert condition({"missing": ["tags"]}) == {"tags": {"$in": [None, []]}}  # or empty
    assert condition({"missing": "model", "model": "m"}) == {"model": {"$in": []}}
    for wrong in ("workflow_id", "start_date", "task.name", "missing", 5, [5], ["model", "modle"]):
        with pytest.raises(UsageError):
            condition({"missing": wrong})


def test_what_is_excluded_narrows_what_is_asked_for() -> None:
    """The same names and forms; what is asked for of the same field still holds."""
    asked = {"model": "a", "status": ["ERROR", "TIMEOUT"], "tags": ["x"], "user_id": "u"}
    excluded = {"model": "b", "status": "timeout", "tags": ["y", "z"]}
    excluded |= {"task_name": "t", "trace_id": 7}

    assert condition({**asked, "excluding": excluded}) == {
        "model": {"$eq": "a", "$nin": ["b"]},
        "status": {"$in": ["ERROR", "TIMEOUT"], "$nin": ["TIMEOUT"]},
        "tags": {"$all": ["x"], "$nin": ["y", "z"]},
        "user_id": "u",
        "task.name": {"$nin": ["t"]},
        "trace_id": {"$nin": ["7"]},
    }
    for wrong in (
        {"start_date": datetime(2026, 5, 1, tzinfo=UTC)},
        {"excluding": {}},
        {"modle": "m"},
        {"status": "ODD"},
        [],
        "m",
    ):
        with pytest.raises(UsageError):
            condition({"excluding": wrong})


def test_values_are_exact_strings() -> None:
    """Enums and references become plain str, so that every driver and encoder takes them."""
    values = condition({"status": LLMCallStatusEnum.ERROR, "user_id": CallReference("u")}).values()

    assert {type(value) for value in values} == {str}


@pytest.mark.parametrize("empty", [None, "", [], (), set(), ["u", None], ["u", ""]], ids=repr)
def test_a_filter_without_a_value_is_a_mistake(
    empty: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Strict mode refuses it, in every filter of every query; else it is logged once."""
    for name in EVERY_FILTER:
        given: Any = {name: empty}
        with changed_settings(strict=True):
            for query in (*SUMMARIES, partial(pipelines.search, "text")):
                with pytest.raises(UsageError, match=rf"{name} is .*for_company\(\)"):
                    query(**given)

    with suppress(UsageError):  # None in a list is no id, strict or not
        condition({"user_id": empty})
    with suppress(UsageError):
        condition({"user_id": empty})
    assert [record.message.count("filter user_id") for record in caplog.records] == [1]


def test_a_filter_without_a_value_where_nobody_is_strict() -> None:
    """None is no filter, nor is having to carry no tags; of none of some values is no call."""
    assert condition(dict.fromkeys(EVERY_FILTER) | {"tags": []}) == {}
    assert condition({"model": []}) == {"model": {"$in": []}}
    assert condition({"model": {"a": 1}.keys()}) == {"model": {"$in": ["a"]}}


@pytest.mark.parametrize(
    ("offset", "inside"), [(-1, False), (0, True), (999, True), (1000, False)], ids=str
)
def test_dates_are_a_range_of_ids(offset: int, inside: bool) -> None:
    """start_date is in and end_date is out, to the millisecond, whatever follows it in the id."""
    dates = {"start_date": NOON, "end_date": NOON + timedelta(seconds=1)}
    ids = condition(dates)["_id"]
    milliseconds = int(NOON.timestamp() * 1000) + offset

    for rest in "08f":
        assert (ids["$gte"] <= uuid7_at(milliseconds, rest) < ids["$lt"]) is inside


def test_after_and_end_date_meet() -> None:
    """The older of the two bounds holds."""
    old, new = (uuid7_at(int(NOON.timestamp() * 1000) + shift, "8") for shift in (-1000, 1000))

    assert condition({"end_date": NOON}, after=old)["_id"]["$lt"] == old
    assert condition({"end_date": NOON}, after=new)["_id"] == condition({"end_date": NOON})["_id"]
    assert condition({}, after=old) == {"_id": {"$lt": old}}


def test_dates_without_a_zone_are_local() -> None:
    """Nine in the evening in Japan is noon in UTC; a zone that is given counts."""
    naive = datetime(2026, 5, 1, 21)  # noqa: DTZ001  (what users write)
    zoned = datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    with local_time("JST-9"):
        conditions = [condition({"start_date": same}) for same in (naive, zoned, NOON)]

    assert conditions == [conditions[-1]] * 3


def test_dates_before_the_epoch_mean_the_first_id() -> None:
    """A very early start includes everything."""
    assert condition({"start_date": datetime.min.replace(tzinfo=UTC)})["_id"]["$gte"] == (
        "00000000-0000"
    )


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"modle": "gpt-4"}, "modle: no such filter; there are call_type, .*model"),
        ({"status": "FAILED"}, "status 'FAILED' is not one of PENDING, SUCCESS"),
        ({"status": ["ERROR", 5]}, "status has to be a str"),
        ({"status": LLMCallStatusEnum("LATER")}, "status .* is not one of PENDING, SUCCESS"),
        ({"call_type": ""}, "call_type '' is no text of 1 to 64 characters"),
        ({"call_type": ["CHAT", "X" * 65]}, "call_type 'X+ is no text of 1 to 64 characters"),
        ({"model": {"$ne": "gpt-4"}}, "model has to be a str or a list of str, not dict"),
        ({"user_id": {"$ne": None}}, "user_id has to be a str, a UUID or an int, not dict"),
        ({"trace_id": [None]}, "trace_id has to be a str, a UUID or an int, not NoneType"),
        ({"start_date": "2026-05-01"}, "start_date has to be a datetime, not str"),
        ({"end_date": 1.5}, "end_date has to be a datetime, not float"),
    ],
    ids=str,
)
def test_a_wrong_filter_is_named(filters: dict[str, Any], message: str) -> None:
    """A filter that is unknown or of the wrong type is an error that says what is right."""
    for summary in SUMMARIES:
        with pytest.raises(UsageError, match=message):
            summary(**filters)


def test_a_date_out_of_range_is_named() -> None:
    """The first moment of the year 1 in Japan has no UTC."""
    with local_time("JST-9"), pytest.raises(UsageError, match=r"start_date .* is out of range"):
        condition({"start_date": datetime.min})  # noqa: DTZ901  (what is tested)


@pytest.mark.parametrize("summary", [pipelines.cost_summary, pipelines.latency_summary])
def test_an_unknown_grouping_is_named(summary: Any) -> None:
    """What calls cannot be grouped by is an error that lists what they can."""
    for group_by in get_args(GroupBy):
        assert summary(group_by)

    with pytest.raises(UsageError, match=r"group_by 'wekk' is not one of model, .*hour"):
        summary("wekk")


def test_an_unknown_bucket_is_named() -> None:
    """What time cannot be divided into is an error that lists what it can."""
    with pytest.raises(UsageError, match="bucket 'fortnight' is not one of hour, day, week, month"):
        pipelines.usage_over_time("fortnight")  # type: ignore[arg-type]


@pytest.mark.parametrize("zone", ["Europe/Paris", "+05:30", "-0330", "+14", "Etc/UTC"])
@pytest.mark.parametrize(
    "summary", [pipelines.cost_summary, pipelines.latency_summary, pipelines.usage_over_time]
)
def test_time_zones_are_names_or_offsets(summary: Any, zone: str) -> None:
    """What MongoDB takes for a zone is in the stages as it was given."""
    assert f'"timezone": "{zone}"' in json.dumps(summary("day", timezone=zone))


@pytest.mark.parametrize(
    "zone", ["Europe/Pari", "localtime", "+5", "+25:00", "05:30", "", None, UTC]
)
@pytest.mark.parametrize(
    "summary", [pipelines.cost_summary, pipelines.latency_summary, pipelines.usage_over_time]
)
def test_an_unknown_time_zone_is_named(summary: Any, zone: Any) -> None:
    """A zone that MongoDB would not understand is an error that says what it would."""
    with pytest.raises(UsageError, match=r"timezone .* is neither an IANA name such as"):
        summary(timezone=zone)


@pytest.mark.parametrize("text", ["", None, 5, "a\0b", "x" * 1001, "half \ud800"], ids=ascii)
def test_what_cannot_be_searched_for_is_named(text: Any) -> None:
    """A text that no call can hold, or that is none, is an error."""
    with pytest.raises(UsageError, match=r"^text h"):
        pipelines.search(text)


def test_a_search_has_a_time_range() -> None:
    """A week before the end, if nothing else is said, so that it reads no more."""
    (given, by_end, by_now) = (
        pipelines.search("x", **dates)[0]["$match"]["_id"]["$gte"]
        for dates in ({"start_date": NOON}, {"end_date": NOON + timedelta(days=7)}, {})
    )

    assert given == by_end < by_now


def test_a_search_that_ends_before_computers_began_is_no_error() -> None:
    """A week before the first instant there is none."""
    stages = pipelines.search("x", end_date=datetime.min.replace(tzinfo=UTC))

    assert stages[0]["$match"]["_id"]["$gte"] == "00000000-0000"


def test_a_search_names_what_is_wrong() -> None:
    """Its filters and limit are checked like those of a list."""
    with pytest.raises(UsageError, match="limit has to be an int from 1"):
        pipelines.search("x", limit=0)
    with pytest.raises(UsageError, match="end_date has to be a datetime, not str"):
        pipelines.search("x", end_date="2026-05-01")  # type: ignore[typeddict-item]


def test_no_pipeline_takes_work_out_of_proportion() -> None:
    """None joins lists in a loop or runs code of its own; a loop in a loop over one list is short.

    MongoDB copies a list for each part that is joined to it.
    """
    written = {
        **{getattr(one, "__name__", "scores"): one() for one in SUMMARIES},
        **{name: view() for name, view in VIEWS.items()},
        **{
            related.__name__: related("x")
            for related in (pipelines.session, pipelines.trace_tree, pipelines.workflow)
        },
        "search": pipelines.search("x"),
        "not searched": not_searched(pipelines.search("x")),
        "read back": read_back(pipelines.search("x"), 10, ["messages"]),
    }
    for name, stages in written.items():
        text = json.dumps(stages, default=str)
        for expensive in ("$reduce", "$concatArrays", "$function", "$accumulator", "$where"):
            assert f'"{expensive}"' not in text, (name, expensive)
        if '"$unwind": "$tool"' in text:  # and each is looked for in all of the call's names
            assert '"tool": {"$slice": [' in text, name


HALF, TOO_MANY = ["a", "\ud800"], [f"{number:036}" for number in range(100_001)]
NOT_TO_BE_ASKED: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    *(
        (
            pipelines.search,
            ("x",),
            {"limit": limit},
            "limit has to be an int from 1 to 1,000,000,000",
        )
        for limit in (10**30, 10**5000, 2**63)
    ),
    (pipelines.search, ("x",), {"after": "\ud800"}, "after holds half a surrogate pair"),
    (pipelines.search, ("\udfff",), {}, "text holds half a surrogate pair"),
    (pipelines.error_messages, (HALF,), {}, "call_ids holds half a surrogate pair"),
    (pipelines.error_messages, (TOO_MANY,), {}, "call_ids has 100,001 values"),
    (pipelines.calls_by_trace, ("\ud83d",), {}, "trace_id holds half a surrogate pair"),
    (pipelines.workflow, (10**5000,), {}, "workflow_id is too large for an id"),
    (pipelines.session, ("s" * 2_000_000,), {}, "session_id has 2,000,000 characters"),
    (pipelines.search, ("x",), {"user_id": 10**5000}, "user_id is too large for an id"),
    (pipelines.search, ("x",), {"user_id": ["u" * 2**19] * 17}, "user_id has 17 values of 8,9"),
    *(
        (pipelines.search, ("x",), {name: HALF}, f"{name} holds half a surrogate pair")
        for name in ("user_id", "company_id", "model", "provider", "tags", "tool", "task_name")
    ),
    *(
        (pipelines.search, ("x",), {name: TOO_MANY}, f"{name} has 100,001 values")
        for name in ("user_id", "trace_id", "tags", "environment")
    ),
]


def test_what_mongodb_cannot_be_asked_for_is_a_mistake_that_is_named() -> None:
    """Numbers beyond 64 bits, half a character, too many values: no error of the driver's."""
    for pipeline, given, named, message in NOT_TO_BE_ASKED:
        with pytest.raises(UsageError, match=f"^{message}"):
            pipeline(*given, **named)
