"""A process that ends with calls in memory only: they arrive, go to disk, or count as lost."""

from pathlib import Path

import pymongo
import pytest
from children import child
from nowhere import NOWHERE
from waiting import PATIENCE, Call, Calls, Recording

import llm_audit
from llm_audit import embedded
from llm_audit.settings import Settings

# Records three calls, six operations, while the spool cannot be written and MongoDB is away.
RECORD = """
import atexit, logging, os, sys
import llm_audit
from llm_audit import LLMLogger

def say_what_was_dropped():
    stats = llm_audit.stats()
    print("dropped", [(entry["what"], entry["count"]) for entry in stats["dropped"]], flush=True)

logging.basicConfig(stream=sys.stdout, format="%(message)s")
FORK
llm_audit.configure(strict=False, exit_timeout_seconds=float(sys.argv[1]))
for _ in range(3):
    call_id = LLMLogger.start(model="m", messages=[{"role": "user", "content": "x"}])
    LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "y"})
print("recorded", flush=True)
"""
BY_ITSELF = RECORD.replace("FORK", "")
IN_A_FORKED_CHILD = RECORD.replace("FORK", "if os.fork(): os.wait(); os._exit(0)")
WITH_SHUTDOWN = f"""{BY_ITSELF}
result = llm_audit.shutdown(0.2)
print("left", result.unacknowledged_operations, result.reason)
say_what_was_dropped()
assert llm_audit.shutdown(0.2) == result
"""
WHEN_ALL_IS_OVER = f"""
import atexit
atexit.register(lambda: say_what_was_dropped())  # comes after what is registered later
{BY_ITSELF}"""
WITH_ROOM_IN_THE_END = f"""{BY_ITSELF}
os.unlink(os.environ["LLM_AUDIT_SPOOL_DIR"])
"""
LOST = "6 operations are lost: they were in memory only"


@pytest.fixture
def without_disk(recording: Recording, tmp_path: Path) -> Settings:
    """Record where nobody listens, with a file in place of the spool."""
    spool = tmp_path / "in the way"
    spool.touch()
    return recording(mongo_url=NOWHERE, spool_dir=spool, strict=False)


def output(script: str, settings: Settings) -> str:
    """Run a script to its usual end, which has a fifth of a second; return what it said."""
    with child(script, settings, "0.2", anew=True) as process:
        said, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    return said


@pytest.mark.parametrize("script", [BY_ITSELF, IN_A_FORKED_CHILD], ids=["by itself", "forked"])
def test_what_is_lost_at_the_end_is_said(without_disk: Settings, script: str) -> None:
    """Where neither disk nor MongoDB takes them, the log says how many, and promises no journal."""
    said = output(script, without_disk)

    assert "stay in the journal" not in said
    assert "calls are in memory only" in said
    assert said.count(LOST) == 1


def test_what_is_lost_is_counted(without_disk: Settings) -> None:
    """What shutdown() could not save is in its result and in stats(), once; so it is at exit."""
    said = output(WITH_SHUTDOWN, without_disk)
    assert "left 6 " in said
    assert "6 operations were in memory only, and are lost" in said
    assert "dropped [('record', 6)]" in said
    assert said.count(LOST) == 1
    assert "dropped [('record', 6)]" in output(WHEN_ALL_IS_OVER, without_disk)


def test_the_disk_may_take_it_in_the_end(
    recording: Recording, without_disk: Settings, calls: Calls, mongod: embedded.Mongod
) -> None:
    """What was in memory only goes to disk as soon as that is possible, and arrives later."""
    reachable = {**dict(without_disk), "mongo_url": mongod.url}
    said = output(WITH_ROOM_IN_THE_END, without_disk)
    assert "lost:" not in said

    (target,) = without_disk.spool_dir.iterdir()
    settings = recording(**reachable)
    target.rename(settings.spool_dir / settings.target())
    assert llm_audit.recover(PATIENCE)
    assert calls.count_documents({"status": "SUCCESS", "messages": {"$exists": True}}) == 3


def test_the_end_waits_for_mongodb(without_disk: Settings, recording: Recording) -> None:
    """As long as `exit_timeout_seconds` allows, the end of a process waits for MongoDB."""
    with embedded.Mongod() as server:
        settings = recording(**{**dict(without_disk), "mongo_url": server.url})
        server.kill()
        with child(BY_ITSELF, settings, str(PATIENCE)) as process:
            assert process.stdout is not None
            line = ""
            while line != "recorded\n":
                line = process.stdout.readline()
            server.restart()
            said, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        assert "lost:" not in said
        with pymongo.MongoClient[Call](server.url) as client:
            found = client[settings.database]["llm_calls"].count_documents({"status": "SUCCESS"})
    assert found == 3
