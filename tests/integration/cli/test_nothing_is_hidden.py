"""No output of any command steers a terminal, or holds a character that nobody sees."""

import json
import logging
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from made_up_calls import Call
from odd_values import USUAL
from pymongo.database import Database

from llm_audit.cli.app import app
from llm_audit.cli.commands.operations import config
from llm_audit.cli.run import _SafeFormatter
from llm_audit.exports.columns import ALL_COLUMNS

Shell = Callable[..., Any]

CATEGORIES = {"Cc", "Cf", "Zl", "Zp", "Co"}
# All of those in the first two planes and the tags, but for line breaks and tabs; some private use;
# fillers and variation selectors; rich's markup and emoji; an OSC, a link and a colour.
HIDDEN = [
    *(c for c in map(chr, range(0x20000)) if unicodedata.category(c) in CATEGORIES - {"Co"}),
    *(c for c in map(chr, range(0xE0000, 0xE0200)) if unicodedata.category(c) in {"Cf", "Mn"}),
    *"\ue000\uf8ff\U000f0000\U0010fffd\u034f\u115f\u2800\u3164\uffa0",
    *(map(chr, range(0xFE00, 0xFE10))),
]
HIDDEN = [character for character in HIDDEN if character not in "\n\t"]
STEERING = "\x1b]0;title\x07\x1b]8;;http://evil\x1b\\link\x1b[2J\x9b31m[red]x[/red]:boom:"
NASTY = f"a{'b'.join(HIDDEN)}{STEERING}"
KEY = NASTY.replace("\0", "")
KEPT = frozenset({"status", "role", "type", "_id", "id", "tool_call_id", "expires_at"})


def spoiled(value: Any, name: str = "") -> Any:
    """Return a value with what is hidden in every text and in a key more."""
    if isinstance(value, str):
        return value if name in KEPT else value + NASTY
    if isinstance(value, list):
        return [spoiled(item, name) for item in value]
    if isinstance(value, dict):
        more = {} if not name or name in {"task", "usage", "cost_details"} else {KEY: NASTY}
        return {key: spoiled(item, key) for key, item in value.items()} | more
    return value


@pytest.fixture
def nasty(database: Database[Call]) -> Database[Call]:
    """Store calls and processes in which every text holds all of it."""
    whole = {
        **USUAL,
        "created_at": datetime.now(UTC),
        "error_type": "E",
        "error_message": "m\n\nassistant",
        "error_traceback": "Traceback:\n  File\nE: m",
        "error_details": {"body": "b", "code": 5},
        "system_prompt": "p",
        "metadata": {"k": "v"},
        "request_params": {"n": "v"},
        "response_extra": {"k": ["v"]},
        "tags": ["t"],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tools_called": ["f"],
        "scores": [{"name": "n", "value": "v", "source": "s", "comment": "c"}],
        "ended_by": "e",
        "encoding_notes": ["p: w"],
        "media": ["m"],
        "finish_reason": "stop",
        "review_id": "r",
        "cost_source": "caller",
        "environment": "e",
        "service": "s",
        "captured_by": "httpx",
        "endpoint": "https://e",
        "content": "sampled",
        "attempts": [{"status": 429, "error": "e", "body": {"b": "v"}}],
        "response_model": "other",
        "provider_request_id": "r",
    }
    calls = database["llm_calls"]
    for number, status in enumerate(("SUCCESS", "ERROR", "PENDING")):
        calls.insert_one({**spoiled(whole), "_id": f"a{number}{NASTY}", "status": status})
    # ids that can be typed, for what is printed of one thing
    ids = {"trace_id": "t", "session_id": "s", "task_id": "task"}
    calls.insert_one({**spoiled(whole), **ids, "_id": "known", "status": "ERROR"})
    calls.insert_one({**spoiled(whole), **ids, "_id": "well", "status": "SUCCESS"})
    now = datetime.now(UTC)
    seen = {"first_at": now, "last_at": now, "first_seq": 1, "last_seq": 1}
    process = {
        "beat_at": now,
        "started_at": now,
        "_id": NASTY,
        "state": NASTY,
        "host": NASTY,
        "pid": 5,
        "collection": "llm_calls",
    }
    process["dropped"] = [{"what": NASTY, "reason": NASTY, "count": 1, "call_ids": [NASTY]} | seen]
    database["llm_audit_processes"].insert_one(process)
    return database


def names_of(group: typer.Typer) -> Iterator[str]:
    """Yield the names of all commands."""
    yield from (
        str(command.name or command.callback.__name__) for command in group.registered_commands
    )  # type: ignore[union-attr]
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from (
            f"{inner.name or inner.typer_instance.info.name} {name}"
            for name in names_of(inner.typer_instance)
        )


COMMANDS: dict[str, list[list[str]]] = {
    "calls": [[], ["--json"], ["--user", NASTY], ["--status", NASTY], ["--since", NASTY]],
    "show": [
        ["known"],
        ["known", "--full"],
        ["known", "--json"],
        ["known", "--raw"],
        ["a"],
        [NASTY],
    ],
    "trace": [["t"], ["t", "--full"], ["t", "--json"], [NASTY], ["a0"]],
    "session": [["s"], ["s", "--full"], ["s", "--json"], [NASTY], ["a0"]],
    "task": [["task"], ["task", "--json"], [NASTY], ["known"]],
    "search": [["what"], ["what", "--json"], [NASTY[:40]]],
    "failures": [[], ["--json"], ["--model", NASTY]],
    "tools": [[], ["--json"]],
    "costs": [[], ["--json"], ["--by", "task_name"], ["--by", NASTY]],
    "latency": [[], ["--json"], ["--by", "user_id"]],
    "usage": [[], ["--json"], ["--time-zone", NASTY]],
    "retries": [[], ["--json"]],
    "prompts": [[], ["--json"], ["--prompt-of", NASTY]],
    "scores": [[], ["--json"], [NASTY], [f"n{NASTY}"]],
    "pipeline": [["search", f"text={NASTY}"], ["search", f"text={NASTY}", "--mongosh"], [NASTY]],
    "export": [
        *([], ["--extended-json"], ["--format", "csv"], ["--format", "openai"]),
        *(["--format", "csv", "--columns", ",".join(ALL_COLUMNS)], ["--columns", NASTY]),
    ],
    "import": [["{file}"], [NASTY.replace("\0", "").replace("/", "")[:60]]],
    "agent": [
        *(["--health"], ["--health", "--metrics-port", NASTY], ["--once", "--timeout", "0"]),
        ["--metrics-host", f"{NASTY}{'x' * 70}".replace("\0", ""), "--metrics-port", "0"],
    ],
    "ui": [["--help"], ["--host", "0.0.0.0"], ["--token-file", "{file}"]],
    "doctor": [[], ["--json"]],
    "indexes": [[], ["--json"]],
    "reprice": [[], ["--json"], ["--prices", "{file}"]],
    "config": [[], ["--json"]],
    "demo": [["--help"]],
    "spool status": [[], ["--json"]],
    "spool drain": [["--timeout", "0"]],
    "spool retry": [[], ["--json"]],
    "views create": [[]],
    "views drop": [[]],
    "views role": [["--name", NASTY], ["--json"]],
}


def test_no_command_prints_what_nobody_sees(
    shell: Shell, nasty: Database[Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was recorded, typed, or is in the environment or a file; as text and as JSON."""
    monkeypatch.setenv("LLM_AUDIT_SERVICE", KEY)
    file = tmp_path / "calls"
    file.write_text(f"{json.dumps({'_id': NASTY})}\n{NASTY}\n")
    assert COMMANDS.keys() == {*names_of(app)}, "each command there is is tried"

    for name, variants in COMMANDS.items():
        for variant in variants:
            words = [word.replace("{file}", str(file)) for word in variant]
            ended = shell(*name.split(), *words)

            assert ended.code in {0, 1, 2}, (name, variant, ended.errors)
            assert "a mistake in llm-audit" not in ended.errors, (name, variant, ended.errors)
            seen = {*ended.output, *ended.errors} & {*HIDDEN}
            assert not seen, (name, ascii(variant), sorted(map(ascii, seen)))
            if "--json" in words or name == "export":
                for line in ended.lines if "csv" not in words and not ended.code else ():
                    json.loads(line)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    for name in ("calls", "show", "trace", "session", "search", "failures", "costs", "doctor"):
        ended = shell(*name.split(), *COMMANDS[name][0])
        text = re.sub(r"\x1b\[[0-9;]*m", "", ended.output)
        assert text != ended.output, name
        assert not {*text, *ended.errors} & {*HIDDEN}, name
    [back] = map(json.loads, shell("show", "known", "--json").lines)
    assert back["metadata"] == nasty["llm_calls"].find_one({"_id": "known"})["metadata"]  # type: ignore[index]
    assert "invisible characters:" in shell("show", "known").output


def test_a_crash_steers_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its traceback quotes what it stumbled over."""

    def broken(_: object) -> Iterator[Any]:
        raise RuntimeError(NASTY)

    monkeypatch.setattr(config, "_settings", broken)
    ended = shell("config")

    assert "Traceback" in ended.errors
    assert not {*_SafeFormatter().format(logging.makeLogRecord({"msg": NASTY}))} & {*HIDDEN}
    assert not {*ended.errors} & {*HIDDEN}


@pytest.mark.usefixtures("made_up")
def test_files_that_are_made_are_for_their_owner_only(shell: Shell, tmp_path: Path) -> None:
    """Whatever the umask, in each format, new or gone on with."""
    for number, words in enumerate(
        (
            ["--output"],
            ["--format", "csv", "--output"],
            ["--format", "openai", "--output"],
            ["--format", "parquet", "--output"],
            ["--extended-json", "--output"],
            ["--resume"],
        )
    ):
        file = tmp_path / str(number)
        assert shell("export", *words, file).code == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, words
