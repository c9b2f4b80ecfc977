"""What import refuses, each in one line, and what it takes although it is odd."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from made_up_calls import Call
from pymongo.database import Database
from waiting import Calls

Shell = Callable[..., Any]

CALL = {"_id": "a", "status": "SUCCESS"}


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


@pytest.mark.parametrize(
    "odd",
    [
        {"session_id": {"gridfs_id": "0" * 64, "length": 5, "kind": "text", "preview": "s"}},
        {"tags": None, "metadata": None},
        {"call_type": "OF_A_LATER_VERSION"},
        {"max_tokens": "0xffffffffffffffffff", "temperature": "hot"},
        {"response_message": "no message"},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_what_was_exported_comes_in(
    odd: dict[str, Any], shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """However odd a call is, what llm-audit has stored is taken back."""
    calls.insert_one(CALL | odd)
    file = tmp_path / "calls"
    assert shell("export", "-o", file).code == 0
    calls.delete_many({})

    ended = shell("import", file)

    assert (ended.code, calls.find_one()) == (0, CALL | odd)


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
    assert list(calls.find()) == [call]
