"""The test kit in projects of users: each is a folder of its own, run by a pytest of its own."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pymongo
import pytest
from waiting import PATIENCE, Calls, Recording

import llm_audit
from llm_audit import LLMLogger, audit_context, embedded
from llm_audit.testing.records import RecordedCall, recorded_nowhere

pytest.importorskip("mongomock_ng")  # then the plugin's entry point is installed, too

pytest_plugins = "pytester"

APP = """
    import llm_audit
    from llm_audit import LLMLogger

    llm_audit.configure(service="shop", spool_dir="spool-of-the-app")

    def answer(question, model="gpt-4"):
        messages = [{"role": "user", "content": question}]
        call_id = LLMLogger.start(provider="openai", model=model, messages=messages)
        reply = {"role": "assistant", "content": question.upper()}
        LLMLogger.complete(call_id, response_message=reply, tokens={"prompt_tokens": 3})
        return reply["content"]

    async def stream(question):
        async with LLMLogger.log_call(model="gpt-4", messages=[question]) as call_id:
            await LLMLogger.complete(call_id, response_message={"content": "yes"})
"""
INI = """
    [pytest]
    asyncio_mode = auto
    asyncio_default_fixture_loop_scope = function
    filterwarnings = error
"""

# What else is installed here takes half of the time of such a run.
WITHOUT = [
    f"-pno:{plugin}"
    for plugin in ("cacheprovider", "pytest_httpx", "respx", "anyio", "hypothesispytest")
]

WHAT_WORKS = {
    # A test sees its calls while they run and when they have ended, and none of another test.
    "sync": """
        import llm_audit
        from app import LLMLogger, answer

        def test_calls(llm_audit_records):
            assert llm_audit_records == []
            assert answer("hi") == "HI"
            running = LLMLogger.start(model="claude", messages=[])
            first, second = llm_audit_records
            assert (first.status, first.model, first.prompt_tokens) == ("SUCCESS", "gpt-4", 3)
            assert first.messages == [{"role": "user", "content": "hi"}]
            assert first.response_message["content"] == "HI"
            assert first.created_at <= first.completed_at
            assert (second.id, second.status) == (running, "PENDING")
            LLMLogger.fail(running, ValueError("no"))
            assert llm_audit_records[-1].error_message == "no"
            assert len(llm_audit_records) == 2

        def test_none_of_the_other_tests(llm_audit_records):
            assert llm_audit_records == []
        """,
    # What a program does at its start and end works, and what it has set is kept otherwise.
    "settings": """
        import os
        import llm_audit
        from app import answer

        def test_start_and_end(llm_audit_records):
            answer("before")
            assert llm_audit.flush()
            # as where the app is made a second time
            llm_audit.configure(mongo_url="mongodb://db.example", spool_dir="elsewhere")
            answer("between")
            assert llm_audit.recover()
            llm_audit.shutdown()
            llm_audit.configure(environment="test", strict=False)
            answer("after")
            called = [(call.service, call.environment) for call in llm_audit_records]
            assert called == [("shop", None), ("shop", None), ("shop", "test")]
            assert not os.path.exists("elsewhere")

        def test_put_back():
            from llm_audit.settings import get_settings
            assert get_settings().service == "shop"
            assert not [name for name in os.environ if name.startswith("LLM_AUDIT_")]
            assert not os.path.exists("spool-of-the-app")
        """,
    # A call that a test left open is no concern of later ones, whatever the program configured.
    "later": """
        import llm_audit
        from app import answer
        from llm_audit import LLMLogger

        def test_leaves_a_call_open(llm_audit_records):
            llm_audit.configure(service="reviews")
            LLMLogger.start(model="never ended", messages=[])

        def test_later(llm_audit_mongod):
            answer("later")
            assert llm_audit.flush()
        """,
    # The same in coroutines, also where the program waits for MongoDB.
    "async": """
        import asyncio
        import llm_audit
        from app import stream

        @pytest.mark.parametrize("durability", ["journal", "acknowledged"])
        async def test_calls(llm_audit_records, durability):
            llm_audit.configure(durability=durability)
            await asyncio.gather(*map(stream, "ab"))
            assert [call.status for call in llm_audit_records] == ["SUCCESS", "SUCCESS"]
            assert [call.messages for call in llm_audit_records] == [["a"], ["b"]]
        """,
    # The calls of a Celery task carry its id and name, without a worker and a broker.
    "task": """
        import celery_hooks
        from app import answer
        from celery import Celery

        app = Celery("shop")
        celery_hooks.install(app)

        @app.task
        def ask(question):
            return answer(question)

        def test_task(llm_audit_records):
            result = ask.apply(args=["hi"])
            assert result.get() == "HI"
            [call] = llm_audit_records
            assert call.task_id == result.id
            assert (call.task.name, call.task.eager) == (ask.name, True)
        """,
    # A script that the test runs records into the test's spool, too.
    "script": """
        import subprocess, sys

        def test_script(llm_audit_records):
            script = "from llm_audit import LLMLogger; LLMLogger.start(model='m', messages=[])"
            subprocess.run([sys.executable, "-c", script], check=True)
            [call] = llm_audit_records
            assert (call.status, call.ended_by) == ("INCOMPLETE", "process_exit")
        """,
}
WHAT_FAILS = {
    # A wrong expectation fails the test, and the report names the calls that there were.
    "expectation": """
        from app import answer

        def test_nothing_is_asked(llm_audit_records):
            answer("hi")
            assert llm_audit_records == []
        """,
    # What is logged once in production raises in a test.
    "mistake": """
        from app import LLMLogger

        def test_mistake(llm_audit_records):
            LLMLogger.start(model="m", messages=3)
        """,
    # Who asks for both is told why nothing would arrive.
    "both": "def test_both(llm_audit_mongod, llm_audit_records): ...",
}

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run pytest in a user's project that consists of the app above and these tests."""
    pytester.makepyfile(app=APP)
    pytester.makeini(INI)

    def run_tests(*options: str, **files: str) -> pytest.RunResult:
        for name, tests in files.items():
            pytester.makepyfile(**{f"test_{name}": "import pytest\n" + dedent(tests)})
        return pytester.runpytest_subprocess(*WITHOUT, *options)

    return run_tests


def test_what_programs_record_is_seen(run: Run) -> None:
    """Sync and async code, tasks and other processes: a test sees what was recorded in it.

    The Python blocks of the page about testing are a file of such tests, too.
    """
    pytest.importorskip("celery")
    page = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    run(**WHAT_WORKS, page="".join(blocks)).assert_outcomes(passed=18)


def test_what_is_wrong_fails(run: Run) -> None:
    """A wrong expectation names the calls that there were; what is only logged elsewhere raises."""
    result = run(**WHAT_FAILS)
    result.assert_outcomes(failed=2, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "*<1 recorded calls: CHAT gpt-4 SUCCESS>*",
            "*UsageError: messages*",
            "*ask for one of them in a test.*",
        ]
    )


def test_a_real_mongod_for_each_worker(run: Run) -> None:
    """Under pytest-xdist too, each test has a database of its own on a real MongoDB."""
    result = run(
        *("-n", "2"),
        real="""
        import llm_audit
        from app import answer, stream
        from llm_audit import LLMCallRepository

        @pytest.mark.parametrize("model", ["gpt-4", "claude", "gemini"])
        def test_sync(llm_audit_mongod, model):
            answer("hi", model)
            assert llm_audit.flush()
            [call] = llm_audit_mongod.calls.find()
            assert (call["model"], call["service"]) == (model, "shop")
            assert llm_audit_mongod.calls.database.name == llm_audit_mongod.database
            assert "@127.0.0.1:" in llm_audit_mongod.url

        async def test_async(llm_audit_mongod):
            database = await llm_audit.init()
            await stream("hi")
            assert llm_audit.flush()
            summary = await LLMCallRepository.failure_summary()
            assert (summary.calls, summary.successes) == (1, 1)
            await database.client.close()
        """,
    )
    result.assert_outcomes(passed=4)


def test_a_server_of_the_users(
    run: Run,
    mongod: embedded.Mongod,
    mongo_client: pymongo.MongoClient[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With LLM_AUDIT_MONGO_URL that server is taken; the tests' databases are gone afterwards."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", mongod.url)
    before = mongo_client.list_database_names()
    result = run(
        url=f"""
        import llm_audit
        from app import answer

        def test_url(llm_audit_mongod):
            assert llm_audit_mongod.url == {mongod.url!r}
            answer("hi")
        """,
    )
    result.assert_outcomes(passed=1)
    assert mongo_client.list_database_names() == before


def test_a_run_that_another_plugin_ends_at_once(
    run: Run,
    pytester: pytest.Pytester,
    mongod: embedded.Mongod,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What tests have recorded into a MongoDB of theirs is there, though no exit handler runs."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", mongod.url)
    monkeypatch.setenv("LLM_AUDIT_DATABASE", calls.database.name)
    monkeypatch.setenv("LLM_AUDIT_EXIT_TIMEOUT_SECONDS", str(PATIENCE))
    pytester.makeconftest("import os\ndef pytest_sessionfinish():\n    os._exit(0)")
    run(once="from app import answer\ndef test_once():\n    answer('hi')")
    assert [call["status"] for call in calls.find()] == ["SUCCESS"]


def test_a_project_without_the_fixtures(run: Run) -> None:
    """There, the plugin costs the import of three small modules, and sets nothing."""
    result = run(
        nothing="""
        import os, sys, threading

        def test_nothing_is_imported():
            foreign = {"beanie", "bson", "mongomock_ng", "pydantic", "pymongo"}
            ours = {name for name in sys.modules if name.split(".")[0] == "llm_audit"}
            assert ours == {"llm_audit", "llm_audit.testing", "llm_audit.testing.plugin"}
            assert not foreign & sys.modules.keys()
            assert not [name for name in os.environ if name.startswith("LLM_AUDIT_")]
            assert threading.active_count() == 1
        """
    )
    result.assert_outcomes(passed=1)


def test_records_are_what_mongodb_would_hold(
    recording: Recording, calls: Calls, tmp_path: Path
) -> None:
    """Shipped afterwards, the journal that the test kit has read makes the same documents."""
    settings = recording(retention_days=30)
    with recorded_nowhere(tmp_path / "test") as records:
        with audit_context(tags=["t"], user_id=7):
            LLMLogger.complete(LLMLogger.start(model="gpt-4", messages=[{"n": 2**70}]))
        LLMLogger.fail(LLMLogger.start(model="m", input=["text"]), TimeoutError("slow"))
        LLMLogger.start(model="large", messages=[b"\0" * settings.media_limit_bytes * 2])
        late = LLMLogger.start(model="ended by inference, then by its owner", messages=[])
        LLMLogger.end_open_calls(None, ended_by="shutdown")
        LLMLogger.complete(late, finish_reason="stop")
        LLMLogger.complete("made elsewhere", response_message={"content": "yes"})
        LLMLogger.fail("made elsewhere", "a second outcome")
    read = list(records)
    assert [call.status for call in read] == [
        *("SUCCESS", "TIMEOUT", "INCOMPLETE", "SUCCESS", "SUCCESS")
    ]
    (journal,) = [folder for folder in records.folders if any(folder.glob("*.bson"))]
    target_folder = settings.spool_dir / settings.target()
    target_folder.mkdir(parents=True)
    journal.rename(target_folder / journal.name)

    assert llm_audit.recover(PATIENCE)
    stored = [RecordedCall(**call, id=call["_id"]) for call in calls.find().sort("_id")]
    assert len(read[2].media) == 1
    assert stored == read
