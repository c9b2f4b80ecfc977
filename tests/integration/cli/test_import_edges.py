"""What import refuses, each in one line, and what it takes although it is odd."""

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from made_up_calls import Call
from patience import PATIENCE
from pymongo.database import Database
from waiting import Calls

import llm_audit
from llm_audit import LLMLogger, SyncLLMCallRepository
from llm_audit.cli.files import imported_calls, unpacking
from llm_audit.gate import shortened
from llm_audit.ids import new_call_id

Shell = Callable[..., Any]

CALL = {"_id": "a", "status": "SUCCESS"}


def without(call: Call) -> Call:
    """Return a call without what an import says of itself."""
    return {name: value for name, value in call.items() if not name.startswith("imported_")}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"_id": "b", "status": ["SUCCESS"]}', "it has no status of a call"),
        ('{"_id": "b", "x": {"$numberDecimal": "abc"}}', "no JSON of a call (InvalidOperation)"),
        ('{"_id": "b", "x": "\\ud800"}', "no JSON of a call (UnicodeEncodeError)"),
        ("[1]", "no JSON of a call (TypeError)"),
        (
            '{"_id": "b", "status": "SUCCESS", "created_at": "2026-05-01T00:00:00Z"}',
            "created_at is no date; llm-audit export makes what import takes",
        ),
        (
            '{"_id": "b", "status": "SUCCESS", "expires_at": {"$date": 300000000000000}}',
            "expires_at is no date; llm-audit export makes what import takes",
        ),
        ('{"_id": "b", "status": "SUCCESS", "total_tokens": "5"}', "total_tokens is no number"),
        (
            '{"_id": "b", "status": "SUCCESS", "latency_ms": {"$numberDecimal": "1"}}',
            "latency_ms is no number",
        ),
        (
            '{"_id": "b", "status": "SUCCESS", "estimated_cost": {"$numberDouble": "NaN"}}',
            "estimated_cost is no number",
        ),
        (
            '{"_id": "b", "status": "SUCCESS", "total_tokens": 1.5}',
            "total_tokens is no whole number",
        ),
        (
            '{"_id": "b", "status": "SUCCESS", "tools_called": "find"}',
            "tools_called is no list",
        ),
    ],
)
def test_a_line_that_lists_would_stumble_over_is_refused(
    line: str, reason: str, shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """It is named with its reason, and the lines around it come in."""
    file = tmp_path / "calls"
    file.write_text(
        f'{{"_id": "a", "status": "SUCCESS"}}\n{line}\n{{"_id": "c", "status": "ERROR"}}'
    )

    ended = shell("import", file)

    assert ended.code == 1
    assert ended.errors.splitlines()[1:] == [f"llm-audit: refused: {file}, line 2: {reason}"]
    assert [call["_id"] for call in calls.find().sort("_id", 1)] == ["a", "c"]


ODD: dict[str, tuple[Call, Call]] = {  # and what comes in of it
    "a text in GridFS": (
        {"session_id": {"gridfs_id": "0" * 64, "length": 5, "kind": "text", "preview": "s"}},
        {},
    ),
    "nothing": ({"tags": None, "metadata": None, "user_id": None}, {"user_id": None}),
    "a type of a later version": ({"call_type": "NEW"}, {"call_type": "NEW"}),
    "a field of a later version": ({"new": {"a": [1]}}, {"new": {"a": [1]}}),
    "no numbers": ({"max_tokens": "0xffffffffffffffffff", "temperature": "hot"}, {}),
    "no message": (
        {"response_message": "no message"},
        {"response_message": {"value": "no message"}},
    ),
    "a number for an id": ({"user_id": 42}, {"user_id": "42"}),
    "a document for a name": ({"model": {"a": 1}, "company_id": ["x"]}, {}),
    "a long id": ({"user_id": "u" * 600}, {"user_id": shortened("u" * 600)}),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_comes_in_as_far_as_it_can_be_read(
    name: str, shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """However odd a call is, it comes in: each field holds its own type, and a note says so."""
    odd, expected = ODD[name]
    calls.insert_one(CALL | odd)
    file = tmp_path / "calls"
    assert shell("export", "--extended-json", "-o", file).code == 0
    calls.delete_many({})

    ended = shell("import", file)

    (call,) = calls.find()
    notes = call.pop("encoding_notes", [])
    assert (ended.code, without(call)) == (0, CALL | expected)
    assert len(notes) == sum(
        field not in expected or expected[field] != odd[field] for field in odd
    )
    (read,) = SyncLLMCallRepository(calls).list_by_filters()
    assert read.unreadable == []


def test_what_lists_print_is_no_export(
    shell: Shell, made_up: Database[Call], tmp_path: Path
) -> None:
    """The lines of `calls --json` leave out what was said: they come in, and that is said."""
    file = tmp_path / "calls"
    file.write_text(shell("calls", "--model", "gpt-4", "--limit", "3", "--json").output)

    ended = shell("--collection", "copy", "import", file)

    assert (ended.code, made_up["copy"].count_documents({})) == (0, 3)
    assert "None of them holds anything that was said: lists such as `calls --json`" in ended.errors


def test_a_broken_document_in_a_dump_is_refused_alone(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """What follows it comes in: each document says where it ends."""
    broken = bytearray(bson.encode({"_id": "b", "status": "SUCCESS", "x": True}))
    broken[broken.index(b"\x08x\0")] = 0x7A  # a type that there is not
    file = tmp_path / "dump.bson"
    file.write_bytes(bson.encode(CALL) + broken + bson.encode({**CALL, "_id": "c"}))

    ended = shell("import", file)

    assert ended.code == 1
    assert "document 2: it cannot be read (InvalidBSON)" in ended.errors
    assert [call["_id"] for call in calls.find().sort("_id", 1)] == ["a", "c"]


def test_what_a_unique_index_refuses_was_not_there(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """Another call in an index of the user's own is a refusal, and the call is named."""
    calls.create_index("trace_id", unique=True)
    calls.insert_one({**CALL, "trace_id": "t"})
    file = tmp_path / "calls"
    file.write_text('{"_id": "b", "status": "SUCCESS", "trace_id": "t"}\n' + json.dumps(CALL))

    ended = shell("import", file, "--json")

    [counts] = map(json.loads, ended.lines)
    assert (ended.code, counts["already_there"], counts["refused"]) == (1, 1, 1)
    assert "refused: b: MongoDB says E11000" in ended.errors


def test_a_byte_order_mark_is_no_mistake(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """Some editors begin a file with one."""
    file = tmp_path / "calls"
    file.write_text('{"_id": "a", "status": "SUCCESS"}', encoding="utf-8-sig")

    assert shell("import", file).code == 0
    assert [call["_id"] for call in calls.find()] == ["a"]


def test_nothing_comes_in_where_a_file_is_missing(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """All files are looked for before the first is read."""
    file = tmp_path / "calls"
    file.write_text('{"_id": "a", "status": "SUCCESS"}')

    ended = shell("import", file, tmp_path / "none")

    assert (ended.code, ended.errors) == (
        2,
        f"llm-audit: {tmp_path / 'none'}: No such file or directory.\n",
    )
    assert calls.count_documents({}) == 0


def test_a_dump_comes_in_byte_for_byte(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """What is read to be looked at is not written anew: old types of UUIDs stay what they are."""
    call = {
        **CALL,
        "created_at": datetime(2026, 5, 1, tzinfo=UTC),
        "metadata": {"legacy": bson.Binary(bytes(16), 3), "whole": bson.Int64(1)},
    }
    file = tmp_path / "dump.bson"
    file.write_bytes(bson.encode(call))

    assert shell("import", file).code == 0
    assert [without(call) for call in calls.find()] == [call]


LINES: dict[str, str] = {  # each by itself between good ones
    "deep documents": '{"_id": "x", "status": "SUCCESS", "x": ' + '{"a":' * 300 + "1" + "}" * 301,
    "deep lists": '{"_id": "x", "status": "SUCCESS", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "an id that cannot be printed": '{"_id": "\\u001b]0;x", "status": "SUCCESS"}',
    "an id that is too long": f'{{"_id": "{"x" * 129}", "status": "SUCCESS"}}',
    "an empty id": '{"_id": "", "status": "SUCCESS"}',
    "a number without end": '{"_id": "x", "status": "SUCCESS", "x": ' + "9" * 5_000 + "}",
    **{
        json.dumps(value): '{"_id": "x", "status": "SUCCESS", "x": ' + json.dumps(value) + "}"
        for value in (
            *(
                {"$binary": {"base64": ""}},
                {"$binary": 1},
                {"$binary": {"base64": "!", "subType": 5}},
            ),
            *({"$date": []}, {"$date": {}}, {"$date": {"$numberLong": "9" * 20}}, {"$oid": 1}),
            *({"$code": 1}, {"$uuid": 5}, {"$timestamp": 1}, {"$timestamp": {"t": -1, "i": -1}}),
            *({"$regularExpression": 1}, {"$numberLong": "9" * 5_000}, {"$numberInt": {}}),
            *({"$numberDouble": "x"}, {"$numberDecimal": []}, {"$dbPointer": 1}, {"$minKey": 2}),
            *({"$ref": "a", "$id": [], "$db": 5}, {"$symbol": 1}, {"$undefined": 0}),
        )
    },
}
MAY_COME_IN = {'{"$symbol": 1}', '{"$regularExpression": 1}', '{"$date": {}}', '{"$undefined": 0}'}


def test_whatever_a_line_holds_costs_that_line(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """The lines around it come in, nothing is printed but its reason, and reasons are counted."""
    good = [f'{{"_id": "{new_call_id()[0]}", "status": "SUCCESS"}}' for _ in LINES]
    file = tmp_path / "calls"
    pairs = zip(good, LINES.values(), strict=True)
    file.write_text("\n\n".join(line for pair in pairs for line in pair))

    ended = shell("import", file, "--json")

    [counts] = map(json.loads, ended.lines)
    assert "Traceback" not in ended.errors
    assert ended.code == 1
    ids = {json.loads(line)["_id"] for line in good}
    assert ids <= {call["_id"] for call in calls.find()}
    assert counts["imported"] + counts["already_there"] + counts["refused"] == 2 * len(good)
    assert len(LINES) - 8 <= counts["refused"] == sum(counts["refused_by_reason"].values())
    assert SyncLLMCallRepository(calls).list_by_filters(limit=None)


def test_a_batch_that_is_refused_whole_is_halved(
    shell: Shell, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One document that MongoDB does not even look at costs only itself."""
    monkeypatch.setattr(imported_calls, "_is_deep", lambda _: False)
    deep = '{"_id": "deep", "status": "SUCCESS", "x": ' + '{"a":' * 300 + "1" + "}" * 301
    file = tmp_path / "calls"
    good = [f'{{"_id": "{new_call_id()[0]}", "status": "SUCCESS"}}' for _ in range(200)]
    file.write_text("\n".join([*good[:77], deep, *good[77:]]))

    ended = shell("import", file)

    assert (ended.code, calls.count_documents({})) == (1, 200)
    assert "200 calls imported, 0 there already, 1 refused" in ended.errors
    assert "refused: deep: MongoDB takes no such document (OperationFailure)" in ended.errors


def test_a_file_brings_no_weight_of_its_own(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """What it says of precedence, of its end and of its own coming is not believed."""
    most = {"$numberLong": str(2**63 - 1)}
    call = {
        "_id": new_call_id()[0],
        "status": "PENDING",
        "outcome_key": most,
        "expires_at": {"$date": "2020-01-01T00:00:00Z"},
        "imported_at": {"$date": "2020-01-01T00:00:00Z"},
        "imported_from": "us",
        "scores": [{"name": "good", "value": True, "key": most}],
        "metadata": {"plan": "free"},
        "annotations": [{"name": "plan", "key": most}],
    }
    file = tmp_path / "calls"
    file.write_text(json.dumps(call))

    assert shell("import", file).code == 0
    (stored,) = calls.find()
    assert not {"outcome_key", "expires_at"} & stored.keys()
    assert stored["imported_at"] > datetime(2026, 1, 1, tzinfo=UTC)
    assert stored["imported_from"].startswith("calls sha256:")

    llm_audit.configure()
    LLMLogger.score(call["_id"], "good", value=False)
    LLMLogger.annotate(call["_id"], metadata={"plan": "paid"})
    LLMLogger.complete(call["_id"], response_message={"role": "assistant", "content": "said"})
    assert llm_audit.flush(PATIENCE)
    (stored,) = calls.find()
    assert [score["value"] for score in stored["scores"]] == [False]
    assert (stored["metadata"], stored["status"]) == ({"plan": "paid"}, "SUCCESS")


def test_imported_calls_are_kept_as_long_as_those_that_come_now(
    shell: Shell, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention is that of whoever imports: a promise to delete holds for these calls too."""
    monkeypatch.setenv("LLM_AUDIT_RETENTION_DAYS", "30")
    old, new = "01900000-0000-7000-8000-000000000000", new_call_id()[0]
    file = tmp_path / "calls"
    file.write_text("\n".join(json.dumps({**CALL, "_id": call_id}) for call_id in (old, new)))

    assert shell("import", file).code == 0
    for call in calls.find():
        kept = call["expires_at"] - call["imported_at"]
        assert timedelta(days=29) < kept < timedelta(days=31), call


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            lambda: gzip.compress(b"a" * 3_000_000) * 100,
            "is read to its beginning only: it unpacks to too much",
        ),
        (
            lambda: gzip.compress(b"\n" * 3_000_000) * 100,
            "is read to its beginning only: it unpacks to too much",
        ),
        (lambda: b"a" * 60_000_000, "line 1: it is longer than 48 MiB"),
        (lambda: b"\n" * 60_000_000 + b"x", "line 60000001: no JSON of a call (JSONDecodeError)"),
        (
            lambda: b'{"x": [' + b"[]," * 15_000_000 + b"1]}",
            "line 1: it has more than 8,388,608 items",
        ),
    ],
    ids=["packed", "packed lines", "a line", "empty lines", "items"],
)
def test_no_file_takes_more_memory_than_there_is(content: Callable[[], bytes], said: str) -> None:
    """A line, and what a file unpacks to, have a limit; no more than a line is read at once."""
    refused: list[str] = []
    file = io.BytesIO(content())
    tracemalloc.start()
    stream = unpacking.unpacked(file)
    assert list(imported_calls.calls_in(stream, "file", refused.append)) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [said in reason for reason in refused] == [True], refused
    assert peak < 3 * unpacking.LINE_MAX_BYTES


def nested(levels: int) -> bytes:
    """Return a document that lies so deep in itself, as BSON that no encoder would make."""
    inner = b"\x05\0\0\0\0"
    head = [
        (len(inner) + 8 * level + 8).to_bytes(4, "little") + b"\3a\0" for level in range(levels)
    ]
    return b"".join(reversed(head)) + inner + b"\0" * levels


def test_whatever_a_dump_holds_costs_that_document(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """Depth without end, two ids, values of wrong types: what stands around it comes in."""
    good = [bson.encode({**CALL, "_id": f"good {n}"}) for n in range(5)]
    call = bson.encode({**CALL, "_id": "x"})
    twice = call[4:-1] + bson.encode({"_id": 7, "status": 5})[4:]
    odd = [
        nested(200_000),
        nested(120),
        (len(twice) + 4).to_bytes(4, "little") + twice,
        call[:4] + call[4:].replace(b"\2status", b"\5status"),
    ]
    file = tmp_path / "dump.bson"
    file.write_bytes(b"".join(one for pair in zip(good, [*odd, b""], strict=True) for one in pair))

    ended = shell("import", file)

    assert (ended.code, "Traceback" in ended.errors) == (1, False)
    assert [one["_id"] for one in calls.find().sort("_id", 1)] == [f"good {n}" for n in range(5)]


def test_what_is_packed_well_in_earnest_comes_in(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """Calls that are much alike become very small; up to some size that raises no doubt."""
    file = tmp_path / "calls.gz"
    same = [{**CALL, "_id": new_call_id()[0], "input": "a" * 20_000} for _ in range(300)]
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, same)).encode()))

    assert shell("import", file).code == 0
    assert calls.count_documents({}) == 300
