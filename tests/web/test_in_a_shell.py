"""The commands that a page names say what it says, in that shell and in mongosh."""

import json
import re
import shlex
import subprocess
from html import unescape
from typing import Any

import pytest
from made_up_calls import store
from pymongo.database import Database
from viewer_tabs import Viewer
from waiting import Recording

from llm_audit.cli import main

SINCE = "since=2026-05-01"


def test_each_page_of_many_calls_names_its_commands(
    viewer: Viewer,
    database: Database[Any],
    recording: Recording,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With filters, other zones, and the time that a page opens with where nothing says so."""
    store(database)
    tab = viewer()
    settings = recording()
    where = ["--mongo-url", settings.mongo_url.get_secret_value(), "--database", settings.database]

    def printed(command: str, *more: str) -> str:
        program, *words = shlex.split(command)
        assert program == "llm-audit"
        capsys.readouterr()
        assert main([*where, words[0], *more, *words[1:]]) == 0, command
        return capsys.readouterr().out

    for address, name, is_same in (
        (f"/?{SINCE}&tz=Asia/Kolkata&not.model=claude", "over_time", True),
        ("/?until=2026-05-02", "over_time", True),
        (f"/failures?{SINCE}&status=ERROR&model=gpt-4", "summary", True),
        (f"/costs?{SINCE}&by=day&tz=Asia/Tokyo&missing=service", "rows", True),
        ("/costs?until=2026-05-02&by=tag&tags=rag", "rows", True),
        (f"/latency?{SINCE}&min_latency_ms=100", "rows", True),
        (f"/prompts?{SINCE}", "rows", True),
        (f"/tools?{SINCE}&tool=read", "rows", True),
        (f"/users?{SINCE}", "rows", False),
        (f"/companies?{SINCE}&call_type=CHAT", "rows", False),
        (f"/tasks?{SINCE}", "by_name", False),
        (f"/calls?{SINCE}&tool=read&not.user_id=--json", "calls", True),
    ):
        sign = "&" if "?" in address else "?"
        said = tab.get(f"{address}{sign}format=json").json()[name]
        commands = commands_of(tab.get(address).text)
        assert len(commands) == 2, address
        rows = [json.loads(line) for line in printed(commands[0], "--json").splitlines()]
        if is_same and name == "summary":
            assert rows[0]["failures"] == said["failures"]
        elif is_same:
            assert [key_of(row) for row in rows] == [key_of(row) for row in said], address
        mongosh = printed(commands[1]).removeprefix('db.getCollection("llm_calls").aggregate(')
        stages = json.loads(mongosh.strip().removesuffix(")"))
        found = list(database["llm_calls"].aggregate(stages))
        assert len(found) == (1 if name == "summary" else len(said)), commands[1]


def commands_of(html: str) -> list[str]:
    return [unescape(one) for one in re.findall(r'copy">(llm-audit .+?)</pre>', html)]


def key_of(row: dict[str, Any]) -> Any:
    return [row.get(name) for name in ("id", "group", "bucket", "tool", "last_id", "calls")]


def test_each_page_of_one_thing_names_its_command(viewer: Viewer, database: Database[Any]) -> None:
    """Ids are whatever users make them; where nothing is named, nothing is said."""
    odd = "-x; rm $HOME `'\""
    call = {"_id": "1", "status": "SUCCESS", "trace_id": odd, "session_id": odd, "task_id": odd}
    database["llm_calls"].insert_one(call)
    tab = viewer()
    for page, identity, words in (
        ("call", "1", ["show", "1"]),
        ("trace", odd, ["trace", "--", odd]),
        ("session", odd, ["session", "--", odd]),
        ("task", odd, ["task", "--", odd]),
    ):
        html = tab.get(f"/{page}", params={"id": identity}).text
        (command,) = commands_of(html)
        assert shlex.split(command) == ["llm-audit", *words]
    # which pages make visible
    for hidden in ("\x1b[31mred \xe9'", "\u202eabc\\", "a\rb", "\U000e0041"):
        (command,) = commands_of(tab.get("/search", params={"q": hidden}).text)
        said = ["bash", "-c", f'llm-audit() {{ printf %s "$5"; }}; {command}']
        env = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        copied = subprocess.run(said, check=True, capture_output=True, env=env).stdout
        assert copied.decode() == hidden
    search = tab.get("/search", params={"q": "-say"}).text
    assert "llm-audit search --since 7d -- -say" in search
    for page in ("help", "call?id=none", "calls?since=x", "costs?by=nothing"):
        assert "llm-audit costs" not in tab.get(f"/{page}").text
