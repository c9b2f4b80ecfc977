"""A call's id has one name, whatever prints it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from made_up_calls import Call
from pymongo.database import Database

from llm_audit.cli.app import app

Shell = Callable[..., Any]

ALL_TIMES = ["--since", "2000-01-01"]
# What each command with --json needs to have something to print.
WORDS = {
    "show": ["{call}"],
    "trace": ["{trace}"],
    "session": ["{session}"],
    "task": ["{task}"],
    "search": ["hello", *ALL_TIMES],
    **dict.fromkeys(("failures", "tools", "costs", "latency", "usage", "retries"), ALL_TIMES),
    "prompts": ALL_TIMES,
    "scores": ["thumbs", *ALL_TIMES],
    "pipeline": ["cost-summary", "--explain"],
    "import": ["{file}"],
}
OF_CALLS = {"calls", "show", "trace", "session", "task", "search"}


def names_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)


def commands_with_json() -> list[str]:
    return [
        str(command.name)
        for command in app.registered_commands
        if "as_json" in command.callback.__annotations__  # type: ignore[union-attr]
    ]


def test_every_command_names_ids_alike(
    shell: Shell, made_up: Database[Call], tmp_path: Path
) -> None:
    """With --json it is `id`, as in Python; `_id` is MongoDB's own."""
    call = made_up["llm_calls"].find_one(
        {"trace_id": {"$ne": None}, "session_id": {"$ne": None}, "task_id": {"$ne": None}}
    )
    assert call
    scores = {"scores": [{"name": "thumbs", "value": 1}]}
    made_up["llm_calls"].update_one({"_id": call["_id"]}, {"$set": scores})
    file = tmp_path / "calls"
    shell("export", "--output", file)
    given = {"call": call["_id"], "file": str(file)}
    given |= {name: call[f"{name}_id"] for name in ("trace", "session", "task")}
    commands = commands_with_json()
    assert {*commands} >= OF_CALLS

    for command in commands:
        words = [word.format(**given) for word in WORDS.get(command, [])]
        ended = shell(command, *words, "--json")

        rows = [json.loads(line) for line in ended.lines]
        assert rows, (command, ended.errors)
        if command not in {"pipeline", "indexes"}:  # which print what is MongoDB's
            assert "_id" not in {name for row in rows for name in names_in(row)}, command
        if command in OF_CALLS:
            ids = {row["id"] for row in rows}
            assert ids <= set(made_up["llm_calls"].distinct("_id")), command

    exported = [json.loads(line) for line in shell("export").lines]
    assert all("id" in row and "_id" not in row for row in exported)
