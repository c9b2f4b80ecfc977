"""Servers that are nearly MongoDB refuse single things: each is refused here, by a proxy.

None of these servers runs here. Their codes and words are as they themselves, their documentation
and their users quote them. The page about them has the same tables.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pymongo
import pytest
from children import child
from faults.refusing import Command, Refusal, Refusing, refusing
from patience import LONG
from pymongo.database import Database
from refused import refusals
from waiting import PATIENCE, Recording

import llm_audit
from llm_audit import LLMAuditError, LLMLogger, SyncLLMCallRepository, embedded
from llm_audit.cli import main
from llm_audit.errors import forget_logged
from llm_audit.queries.questions import QUESTIONS
from llm_audit.recorder.retry import RetryResult

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "servers-like-mongodb.md"
SECRET = "hunter2"
SAID = [{"role": "user", "content": f"{SECRET} is my password"}]
LARGE = [{"role": "user", "content": "QUJD" * 2_000}]  # it moves to GridFS
OF_ONE = ("get", "search", "get_calls_by_trace", "get_trace_tree", "get_session", "score_summary")
OF_ONE += ("get_calls_by_task", "get_workflow", "get_task", "get_canvas", "tool_arguments")


class Recorded(NamedTuple):
    """What is refused while calls are recorded.

    Attributes:
        what: As the page names it.
        refusal: What the server says.
        problem: What the doctor has to say of it; nothing where empty.
        then: What the page says of it.
        is_logged: Whether the log has the server's words.
        score: Whether the score of a call arrives, too.
        media: Whether large content does.
        words: What the log has of the server's own; up to the first name by default.
    """

    what: str
    refusal: Refusal
    problem: str
    then: str
    is_logged: bool = True
    score: bool = True
    media: bool = True
    words: str = ""


class Asked(NamedTuple):
    """What is refused while calls are asked for.

    Attributes:
        what: As the page names it.
        refusal: What the server says.
        fails: Which questions and commands do not work.
        problem: What the doctor cannot look at; nothing where empty.
    """

    what: str
    refusal: Refusal
    fails: tuple[str, ...] = ()
    problem: str = ""


def name_of(command: Command) -> str:
    return next(iter(command))


def command(name: str) -> Callable[[Command], bool]:
    """Match a command."""
    return lambda sent: name_of(sent) == name


def field(name: str) -> Callable[[Command], bool]:
    """Match every command with a field."""
    return lambda sent: name in sent


def index(which: Callable[[dict[str, Any]], object]) -> Callable[[Command], bool]:
    """Match the creation of some indexes."""
    return lambda sent: any(map(which, sent.get("indexes", ())))


def option(name: str) -> Callable[[Command], bool]:
    """Match the creation of indexes with an option."""
    return index(lambda document: name in document)


def operator(name: str) -> Callable[[Command], bool]:
    """Match what is asked with an operator or a stage."""
    return lambda sent: name_of(sent) == "aggregate" and f"'{name}'" in str(sent)


def has_pipeline(sent: Command) -> bool:
    """Match updates that are pipelines."""
    return any(isinstance(update.get("u"), list) for update in sent.get("updates", ()))


def every_second_write() -> Callable[[Command], bool]:
    """Match writes as a server refuses them that has too much to do."""
    writes = 0

    def is_refused(sent: Command) -> bool:
        nonlocal writes
        is_write = sent.get("insert", sent.get("update")) == "llm_calls"
        writes += is_write
        return is_write and bool(writes % 2)

    return is_refused


RECORD_AND_DIE = f"""
import os, signal
import llm_audit
from llm_audit import LLMLogger
LLMLogger.start(model="m", messages={SAID!r})
assert llm_audit.flush({PATIENCE})
os.kill(os.getpid(), signal.SIGKILL)
"""
RETRIES = "add retryWrites=false"
NOT_REMOVED = "llm_audit_processes.expiry"
GOES_ON = "recording goes on without them; with `retryWrites=false` in the URL, from the start"
LARGER = "indexes without conditions, which hold every document"
RECORDED = [
    Recorded(
        "retryable writes",
        Refusal(field("txnNumber"), 301, "Retryable writes are not supported"),
        RETRIES,
        GOES_ON,
    ),
    Recorded(
        "retryable writes",
        Refusal(
            field("txnNumber"),
            2,
            "Retryable writes are not supported. Please disable retryable writes by specifying "
            '"retrywrites=false" in the connection string or an equivalent driver specific config.',
        ),
        RETRIES,
        GOES_ON,
    ),
    Recorded(
        "retryable writes",
        Refusal(
            field("txnNumber"),
            238,
            'update: support for field "txnNumber" is not implemented yet',
        ),
        RETRIES,
        GOES_ON,
    ),
    Recorded(
        "compression (`storageEngine`)",
        Refusal(field("storageEngine"), 303, "Field 'storageEngine' is currently not supported"),
        "",
        "collections as the server makes them",
    ),
    Recorded(
        "creating collections",
        Refusal(command("create"), 115, "Command create is not supported"),
        "",
        "the first index makes them",
    ),
    Recorded(
        "conditions in indexes (`partialFilterExpression`)",
        Refusal(
            option("partialFilterExpression"),
            303,
            "Field 'partialFilterExpression' is currently not supported",
        ),
        "",
        LARGER,
    ),
    Recorded(
        "conditions in indexes (`partialFilterExpression`)",
        Refusal(
            option("partialFilterExpression"),
            238,
            'createIndexes: support for field "partialFilterExpression" is not implemented yet',
        ),
        "",
        LARGER,
    ),
    Recorded(
        "several indexes in one command",
        Refusal(lambda sent: len(sent.get("indexes", ())) > 1, 115, "Only one index is supported"),
        "",
        "one index after the other",
        is_logged=False,
    ),
    Recorded(
        "expiry (`expireAfterSeconds`)",
        Refusal(
            option("expireAfterSeconds"),
            2,
            "The 'expireAfterSeconds' option is supported on '_ts' field only.",
        ),
        NOT_REMOVED,
        "nothing is removed by the server: the doctor names it",
    ),
    Recorded(
        "text indexes",
        Refusal(
            index(lambda document: "text" in document["key"].values()),
            303,
            "Index type not supported : text",
        ),
        "llm_calls.every_word",
        "`text_index` is of no use there: the doctor names it",
    ),
    Recorded(
        "indexes of many fields",
        Refusal(
            index(lambda document: len(document["key"]) > 8),
            67,
            "A compound index with more than 8 fields is not supported",
        ),
        "llm_calls.summed_up",
        "sums read all calls: the doctor names it",
    ),
    Recorded(
        "all indexes",
        Refusal(command("createIndexes"), 115, "Command createIndexes not supported"),
        "llm_calls.trace_id_newest",
        "queries read all calls: the doctor names it",
    ),
    Recorded(
        "listing indexes",
        Refusal(command("listIndexes"), 115, "Command listIndexes not supported"),
        "the indexes",
        "indexes are made, and not compared: the doctor says that it cannot look",
        is_logged=False,
    ),
    Recorded(
        "updates that are pipelines",
        Refusal(
            has_pipeline,
            14,
            "BSON field 'update.updates.u' is the wrong type 'array', expected type 'object'",
        ),
        "updates that are pipelines",
        "scores and annotations are kept in `llm_audit_rejected`",
        score=False,
    ),
    Recorded(
        "updates that are pipelines",
        Refusal(has_pipeline, 9, "Update with a pipeline is not supported", each=True),
        "updates that are pipelines",
        "scores and annotations are kept in `llm_audit_rejected`",
        score=False,
    ),
    Recorded(
        "`findAndModify`",
        Refusal(command("findAndModify"), 59, "no such command: 'findAndModify'"),
        "what GridFS takes",
        "large content that moves to GridFS is lost, and counted",
        media=False,
    ),
    Recorded(
        "every second write (too many requests)",
        Refusal(
            every_second_write(),
            16500,
            "Error=16500, RetryAfterMs=10, Details='Request rate is large'",
        ),
        "",
        "sent again until it is taken",
        words="Request rate is large",
    ),
]

EXPLAIN = "`llm-audit pipeline --explain`"
VIEWS = "`llm-audit views create`"
ASKED = [
    Asked(
        "views",
        Refusal(field("viewOn"), 303, "Field 'viewOn' is currently not supported"),
        (VIEWS,),
    ),
    Asked(
        "`$setWindowFields`",
        Refusal(
            operator("$setWindowFields"),
            304,
            "Aggregation stage not supported: '$setWindowFields'",
        ),
        ("`failure_summary`", "`latency_summary`", "`task_summary`"),
    ),
    Asked(
        "`$setWindowFields`",
        Refusal(
            operator("$setWindowFields"),
            115,
            "Stage $setWindowFields is not supported yet in native pipeline",
        ),
        ("`failure_summary`", "`latency_summary`", "`task_summary`"),
    ),
    Asked(
        "`$dateTrunc`",
        Refusal(operator("$dateTrunc"), 168, "Unrecognized expression '$dateTrunc'"),
        ("`failures_over_time`", "`latency_heatmap`", "`usage_over_time`"),
    ),
    Asked(
        "`$lookup`",
        Refusal(operator("$lookup"), 304, "Aggregation stage not supported: '$lookup'"),
        problem="the media",
    ),
    Asked("`$facet`", Refusal(operator("$facet"), 40324, "Unrecognized pipeline stage: '$facet'")),
    Asked(
        "`$unionWith`",
        Refusal(operator("$unionWith"), 304, "Aggregation stage not supported: '$unionWith'"),
    ),
    Asked(
        "`$percentile`",
        Refusal(operator("$percentile"), 15952, "unknown group operator '$percentile'"),
    ),
    Asked("`$minN`", Refusal(operator("$minN"), 15952, "unknown group operator '$minN'")),
    Asked(
        "`$merge`, `$out`",
        Refusal(
            lambda sent: operator("$merge")(sent) or operator("$out")(sent),
            115,
            "Stage $merge is not supported yet in native pipeline",
        ),
    ),
    Asked(
        "collations",
        Refusal(field("collation"), 303, "option collation is not currently supported"),
    ),
    Asked("`bulkWrite`", Refusal(command("bulkWrite"), 59, "Command bulkWrite not found")),
    Asked("`hint`", Refusal(field("hint"), 115, "hint is not supported")),
    Asked("`explain`", Refusal(command("explain"), 8000, "CMD_NOT_ALLOWED: explain"), (EXPLAIN,)),
    Asked(
        "`$collStats`, `$indexStats`",
        Refusal(
            lambda sent: operator("$collStats")(sent) or operator("$indexStats")(sent),
            8000,
            "$collStats is not allowed or the syntax is incorrect, see the Atlas documentation",
        ),
    ),
]
COMMANDS = {
    EXPLAIN: ("pipeline", "cost-summary", "--explain"),
    "`llm-audit indexes`": ("indexes",),
    VIEWS: ("views", "create"),
}


Case = TypeVar("Case", Recorded, Asked)


def tried(cases: list[Case]) -> list[Case]:
    """Try one refusal of each thing, in the words of one server; in a long run those of all."""
    return cases if LONG else list({case.what: case for case in reversed(cases)}.values())[::-1]


@pytest.fixture(scope="module")
def server(replica_set: embedded.Mongod) -> Iterator[Refusing]:
    """Run the proxy; before a replica set, as the driver repeats no writes anywhere else."""
    with refusing(replica_set) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(replica_set: embedded.Mongod) -> Iterator[pymongo.MongoClient[Any]]:
    """Connect past the proxy."""
    with pymongo.MongoClient[Any](replica_set.url) as client:
        yield client


def record() -> list[str]:
    """Record what takes each of the ways into MongoDB."""
    ids = [LLMLogger.start(model="m", messages=SAID, trace_id="x", tags=[SECRET]) for _ in range(3)]
    LLMLogger.complete(ids[0], response_message=SAID[0])
    LLMLogger.fail(ids[1], ValueError(SECRET))
    ids.append(LLMLogger.start(model="m", messages=LARGE))
    LLMLogger.score(ids[0], name="x", value=0.5)
    return [str(call_id) for call_id in ids]


async def initialise() -> None:
    """Start an app beside it."""
    database = await llm_audit.init()
    await database.client.close()


def test_recording_goes_on(
    server: Refusing,
    client: pymongo.MongoClient[Any],
    recording: Recording,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Whatever is refused, calls arrive, the log names the cause once, and the doctor as well."""
    for number, case in enumerate(tried(RECORDED)):
        server.refusal = None
        caplog.clear()
        forget_logged()
        database = client[f"refused_{number}"]
        client.drop_database(database)
        recording(
            mongo_url=server.url,
            database=database.name,
            spool_dir=tmp_path / str(number),
            create_collection=True,
            text_index="text" in case.what,
            media_limit_bytes=1_000,
        )
        server.refusal = case.refusal
        server.refused.clear()
        ids = record()
        assert llm_audit.flush(PATIENCE), case
        asyncio.run(initialise())
        ids += record()
        assert llm_audit.flush(PATIENCE), case
        problems = "\n".join(llm_audit.doctor().problems)

        assert server.refused, case
        assert_arrived(database, ids, case)
        assert case.problem in problems, (case, problems)
        assert case.problem or not problems, (case, problems)
        words = case.words or case.refusal.text.split("'")[0].split('"')[0]
        lines = [line for line in caplog.messages if words in line]
        assert len(lines) == case.is_logged, (case, caplog.messages)
        assert not any("conflict" in line for line in caplog.messages), caplog.messages
        assert SECRET not in caplog.text + problems
        client.drop_database(database)
    server.refusal = None


def assert_arrived(database: Database[Any], ids: list[str], case: Recorded) -> None:
    calls = database["llm_calls"]
    found = {call["_id"]: call for call in calls.find()}
    assert found.keys() == set(ids), case
    statuses = [found[call_id]["status"] for call_id in ids]
    assert statuses == ["SUCCESS", "ERROR", "PENDING", "PENDING"] * 2, case
    assert all(found[call_id]["messages"] for call_id in ids)
    assert database["fs.files"].count_documents({}) == case.media
    kept = [document["call_id"] for document in refusals(calls)]
    assert kept == ([] if case.score else [ids[0], ids[4]]), case
    assert [bool(found[call_id].get("scores")) for call_id in (ids[0], ids[4])] == [case.score] * 2


def test_what_cannot_be_asked_says_so(
    server: Refusing,
    client: pymongo.MongoClient[Any],
    recording: Recording,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One sentence has the server's own words; everything else works as ever."""
    server.refusal = None
    recording(mongo_url=server.url, database="asked", create_collection=True)
    record()
    assert llm_audit.shutdown(PATIENCE)
    for case in tried(ASKED):
        server.refusal = case.refusal
        said = {f"`{name}`": error for name, error in failing_questions()}
        for name, words in COMMANDS.items():
            capsys.readouterr()
            if main(words):
                said[name] = capsys.readouterr().err
        problems = "\n".join(llm_audit.doctor().problems)

        assert tuple(said) == case.fails, case
        for error in said.values():
            assert case.refusal.text.split("'")[0] in error, (case, error)
            assert len(error.splitlines()) == 1
        assert case.problem in problems
        assert case.problem or "Could not look" not in problems, problems
    server.refusal = None
    client.drop_database("asked")


def failing_questions() -> Iterator[tuple[str, str]]:
    with SyncLLMCallRepository() as repository:
        for name in QUESTIONS:
            try:
                getattr(repository, name)(*(["x"] if name in OF_ONE else []))
            except LLMAuditError as error:
                yield name, str(error)


def test_what_was_refused_is_sent_again(
    server: Refusing, client: pymongo.MongoClient[Any], recording: Recording
) -> None:
    """By a server without retryable writes, too."""
    database = client["again"]
    database.create_collection("llm_calls", validator={"trace_id": {"$ne": "refused"}})
    recording(mongo_url=server.url, database=database.name)
    server.refusal = RECORDED[0].refusal
    call_id = LLMLogger.start(model="m", messages=SAID, trace_id="refused")
    assert llm_audit.flush(PATIENCE)
    assert [document["call_id"] for document in refusals(database["llm_calls"])] == [call_id]
    database.command("collMod", "llm_calls", validator={})
    assert llm_audit.retry_rejected() == RetryResult(arrived=1, refused_again=0)
    server.refusal = None
    client.drop_database(database)


def test_what_a_dead_process_had_shipped_is_sent_again(
    server: Refusing, client: pymongo.MongoClient[Any], recording: Recording
) -> None:
    """A start that is there already needs no pipeline where there are none."""
    server.refusal = next(case.refusal for case in RECORDED if not case.score)
    settings = recording(mongo_url=server.url, database="twice")
    with child(RECORD_AND_DIE, settings) as dead:
        dead.communicate()
    server.refused.clear()
    assert llm_audit.recover(PATIENCE)
    assert server.refused
    [call] = client["twice"]["llm_calls"].find()
    assert (call["status"], call["messages"]) == ("ABANDONED", SAID)
    assert refusals(client["twice"]["llm_calls"]) == []
    server.refusal = None
    client.drop_database("twice")


def test_the_page_has_what_is_tested() -> None:
    """Its tables are those above, and name no refusal that nothing has shown."""
    rows = [
        line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`:" in line
    ]
    recorded = [f"| {case.what} | {words_of(case.refusal)} | {case.then} |" for case in RECORDED]
    asked = [
        f"| {case.what} | {words_of(case.refusal)} | {', '.join(case.fails) or '-'} |"
        for case in ASKED
    ]
    assert rows == recorded + asked


def words_of(refusal: Refusal) -> str:
    text = refusal.text if len(refusal.text) < 90 else f"{refusal.text[:34]} ..."
    return f"`{refusal.code}`: {text}"
