"""Whatever stands in the database: questions and commands are answered, of each tenant its own."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, get_args

from anything import VALUES, bent, no_hang
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from made_up_calls import CALLS, Call
from odd_values import USUAL
from patience import LONG
from properties import example, few, given, st
from pydantic import BaseModel
from pymongo.database import Database
from pymongo.errors import PyMongoError
from whole_documents import ANTHROPIC, CHUNK, DEAD, MEDIUM, OPENAI, REFUSED

from llm_audit import SyncLLMCallRepository
from llm_audit.queries.grouping import Bucket, GroupBy
from llm_audit.queries.views import VIEWS
from llm_audit.store.connection import readable
from llm_audit.store.indexes import PROCESSES, REJECTED

BENT = {
    "llm_calls": bent([USUAL, OPENAI, ANTHROPIC, *CALLS[::50]]),
    PROCESSES: bent([DEAD, {**DEAD, "state": "ended"}, {**DEAD, "state": "recovered"}]),
    REJECTED: bent([REFUSED]),
    "fs.files": bent([MEDIUM]),
    "fs.chunks": bent([CHUNK]),
}
COMMANDS = [
    *("calls", "calls --json", "calls --limit 1", "trace t", "trace t --full", "trace t --json"),
    *("session s", "session s --full", "session s --json", "task task", "task task --json"),
    *("search o --since 2000-01-01", "search hello --since 2000-01-01 --json"),
    *("failures --since 2000-01-01", "tools", "costs --since 2000-01-01", "costs --by tag --json"),
    *("latency", "latency --by hour --json", "usage --since 2026-04-30 --until 2026-05-03"),
    *(
        "retries",
        "prompts",
        "scores good",
        "export",
        "export --format csv",
        "export --format openai",
    ),
    *("doctor", "doctor --json", "indexes", "views role", "spool retry", "spool status"),
]


STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for tabs and line feeds
DATE = DatetimeMS(2**63 - 1)  # beyond any that Python has
Shell = Callable[..., Any]
Documents = dict[str, list[Call]]


@st.composite
def databases(draw: st.DrawFn) -> Documents:
    """Draw what stands in each collection."""
    return {name: draw(st.lists(documents, max_size=4)) for name, documents in BENT.items()}


def stored(database: Database[Call], documents: Documents) -> None:
    """Let that be in the database, but for what BSON or MongoDB has no place for."""
    for name, drawn in documents.items():
        database[name].delete_many({})
        for document in drawn:
            with suppress(PyMongoError, BSONError, OverflowError):
                database[name].insert_one(document)


def answers(questions: SyncLLMCallRepository, texts: list[str]) -> list[Any]:
    """Ask everything there is to ask."""
    long_ago: Any = {"start_date": datetime(2000, 1, 1, tzinfo=UTC)}
    said = [
        *(questions.list_by_filters(limit=None), questions.list_by_filters(with_content=False)),
        *(questions.count_by_filters(), questions.failure_summary(), questions.tool_usage()),
        *(questions.retry_spend(), questions.score_summary("good")),
        *(questions.cost_summary(by) for by in get_args(GroupBy)),
        *(questions.latency_summary(by) for by in get_args(GroupBy)),
        *(questions.usage_over_time(bucket) for bucket in get_args(Bucket)),
        *(questions.search(text, limit=None, **long_ago) for text in ("o", *texts) if text.strip()),
    ]
    for text in texts:
        said += [questions.get_calls_by_trace(text), questions.get_trace_tree(text)]
        said += [questions.get_session(text), questions.get_workflow(text)]
        said += [questions.get_calls_by_task(text), questions.get(text)]
        said.append(questions.get(text, with_media=True))
    return said


def as_json(answer: Any) -> str:
    """Return an answer as a program shows it to somebody."""
    if isinstance(answer, list):
        return " ".join(map(as_json, answer))
    return answer.model_dump_json() if isinstance(answer, BaseModel) else repr(answer)


NO_CHUNK = {"llm_calls": [ANTHROPIC], "fs.files": [MEDIUM], "fs.chunks": [CHUNK | {"data": DATE}]}


@few
@given(documents=databases())
@example(documents=NO_CHUNK)  # the driver reads it, and then cannot
def test_every_question_is_answered(documents: Documents, database: Database[Call]) -> None:
    """No document spoils an answer that is about others, too."""
    stored(database, documents)
    ids = [call["_id"] for call in database["llm_calls"].find({}, {"_id": 1})]
    with no_hang():
        said = answers(
            SyncLLMCallRepository(database["llm_calls"]), ["t", "s", "task", *map(str, ids)]
        )
        for answer in said:
            as_json(answer)
        for view in VIEWS.values():
            list(readable(database["llm_calls"]).aggregate(view()))
    assert len(said[0]) == len(ids)


@few
@given(documents=databases(), number=st.integers(0, 10**6))
def test_every_command_ends_in_order(
    documents: Documents, number: int, shell: Shell, database: Database[Call]
) -> None:
    """No document makes a command fail, and nothing that steers a terminal comes out of it."""
    stored(database, documents)
    ids = [str(call["_id"]) for call in database["llm_calls"].find({}, {"_id": 1})]
    shows = [
        ["show", *how, "--", call_id]
        for call_id in ids
        for how in ([], ["--full"], ["--json"], ["--raw"])
    ]
    commands = [*(command.split() for command in COMMANDS), *shows]
    for command in commands if LONG else [commands[number % len(commands)]]:
        with no_hang():
            ended = shell(*command)
        assert "mistake in" not in ended.errors, (command, ended.errors)
        assert ended.code in {0, 1}, (command, ended)  # 1: nothing has that id
        assert not STEERS.search(ended.output + ended.errors), (command, ended)


THEIRS = {
    **dict.fromkeys(("service", "model", "error_type", "system_prompt"), "THEIRS"),
    **{name: ["THEIRS"] for name in ("messages", "tags", "tools_called")},
    "response_message": {"content": "hello THEIRS"},
}


@few
@given(
    calls=st.lists(bent([USUAL, OPENAI, ANTHROPIC]), max_size=6),
    companies=st.lists(VALUES.filter(lambda value: value != "c" and type(value) is not list)),
)
def test_each_tenant_sees_its_own(
    calls: list[Call], companies: list[Any], database: Database[Call]
) -> None:
    """Whatever stands beside them: of one company nothing is shown to another."""
    others = [
        {**call, **THEIRS, "_id": f"other {number}", "company_id": company}
        for number, (call, company) in enumerate(zip(calls, companies, strict=False))
    ]
    stored(database, {"llm_calls": [*calls, *others]})
    database["llm_calls"].update_many({"company_id": {"$ne": "c"}}, {"$set": THEIRS})
    questions = SyncLLMCallRepository(database["llm_calls"]).for_company("c")
    with no_hang():
        for answer in answers(questions, ["t", "s", "task", *(call["_id"] for call in others)]):
            assert "THEIRS" not in as_json(answer)
