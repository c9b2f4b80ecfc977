"""Everything that recording takes can be read, shown, written into a file and brought in again."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pymongo
import pytest
from beanie import init_beanie
from made_up_calls import Call
from patience import LONG, PATIENCE, share
from pymongo.collection import Collection
from pymongo.database import Database
from recordable import VALUES, assert_json, no_json, record

import llm_audit
from llm_audit import LLMCall, LLMCallRepository, SyncLLMCallRepository, embedded

Shell = Callable[..., Any]
COUNT = 2 * len(VALUES)
AS_JSON = ["calls --limit 9999 --json", "trace t --json", "session s --json", "task task --json"]
AS_JSON += ["export", "export --extended-json", "export --format openai"]
AS_TEXT = ["calls --limit 9999", "trace t --full", "session s --full", "task task", "search x"]
AS_TEXT += ["export --format csv", "failures", "costs", "tools", "usage", "latency", "retries"]
AS_TEXT += ["reprice"]
UNLIKE_ITS_JSON = "extended json"  # a key of the user's that means a type there: it is refused
HOWS = [[], ["--full"], ["--json"], ["--raw"]]


@pytest.fixture
def calls(recording: Callable[..., Any], database: Database[Call]) -> Collection[Call]:
    """Record each value; some of it moves to GridFS."""
    recording(strict=False, media_limit_bytes=2_000)
    for name, value in VALUES.items():
        record(name, value)
    assert llm_audit.shutdown(PATIENCE)
    return database["llm_calls"]


def everything(questions: Any) -> Iterator[Any]:
    """Ask every question; what comes may have to be awaited."""
    yield questions.list_by_filters(limit=None)
    yield questions.get_calls_by_trace("t")
    yield questions.get_trace_tree("t")
    yield questions.get_session("s")
    yield questions.get_calls_by_task("task")
    yield questions.get_workflow("t")
    yield questions.search("plain", start_date=datetime.now(UTC) - timedelta(days=1))
    yield questions.failure_summary()
    yield questions.tool_usage()
    yield questions.cost_summary("model")
    yield questions.latency_summary("model")
    yield questions.usage_over_time("day")
    yield questions.retry_spend()


async def test_all_of_it_is_read(mongod: embedded.Mongod, calls: Collection[Call]) -> None:
    """By sync and async code, through our clients and the app's own, and as JSON."""
    answers = list(everything(SyncLLMCallRepository(calls)))
    found = answers[0]
    assert len(found) == COUNT
    assert {call.status for call in found} == {"SUCCESS", "ERROR"}
    assert {call.model: call.unreadable for call in found if call.unreadable} == {}
    for answer in answers:
        for result in answer if isinstance(answer, list) else [answer]:
            assert_json(result)

    expected = list(map(repr, answers))
    async with pymongo.AsyncMongoClient[Call](mongod.url) as own:  # as most apps have it
        theirs = partial(init_beanie, own[calls.database.name], document_models=[LLMCall])
        for bind in (llm_audit.init, theirs):
            await bind()  # type: ignore[operator]
            # as texts: NaN is not equal to itself
            assert [repr(await answer) for answer in everything(LLMCallRepository())] == expected
        assert len(await LLMCall.find_all().to_list()) == COUNT


def without(line: str) -> str:
    """Return a line without what import leaves out, and without what it says of itself."""
    own = {"imported_at", "imported_from", "outcome_key", "expires_at"}
    return json.dumps({name: item for name, item in json.loads(line).items() if name not in own})


@pytest.mark.many
def test_all_of_it_is_shown(calls: Collection[Call], shell: Shell, tmp_path: Path) -> None:
    """By every command; what one exports, import brings in again as it was."""
    for command in (*AS_JSON, *AS_TEXT):
        since = ["--since", "2000-01-01"] if command == "search x" else []
        ended = shell(*command.split(), *since)
        assert (ended.code, "mistake in" in ended.errors) == (0, False), (command, ended.errors)
        if command in AS_JSON:
            for line in ended.lines:
                json.loads(line, parse_constant=no_json)
    ids = [call["_id"] for call in calls.find({}, {"_id": 1})]
    how = cycle(HOWS)
    for call_id in share(ids, 8):
        for _ in range(len(HOWS) if LONG else 1):
            assert shell("show", call_id, *next(how)).code == 0, call_id

    file, again = tmp_path / "calls.jsonl", tmp_path / "again.jsonl"
    assert shell("export", "--extended-json", "-o", file).code == 0
    shell("--collection", "copies", "import", file)
    assert shell("--collection", "copies", "export", "--extended-json", "-o", again).code == 0
    lines, copies = (list(map(without, one.read_text().splitlines())) for one in (file, again))
    assert len(lines) == COUNT
    assert {json.loads(line)["model"] for line in {*lines} - {*copies}} == {UNLIKE_ITS_JSON}
    assert {*copies} < {*lines}
    pytest.importorskip("pyarrow")
    assert shell("export", "--format", "parquet", "-o", tmp_path / "calls.parquet").code == 0
