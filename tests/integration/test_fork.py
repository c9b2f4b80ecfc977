"""Forks, exits and other Pythons: every process delivers what it recorded, once."""

import multiprocessing

import pytest
from children import (
    RECORD,
    assert_all_there,
    child,
    output_of,
    record_here,
    record_in_child,
    said,
)
from waiting import PATIENCE, Calls, Recording

import llm_audit

# Forks after the recorder has shipped something; the children flush, as Celery's do, or just exit.
FORK = (
    RECORD
    + """
record(20)
assert llm_audit.flush(PATIENCE)
children = []
for number in range(4):
    record()
    pid = os.fork()
    if pid == 0:
        record(10)
        if number % 2:
            assert llm_audit.shutdown(PATIENCE)
        os._exit(0)
    children.append(pid)
record(10)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
record(1)
assert llm_audit.flush(PATIENCE)
"""
)

# Forks again and again while other threads record, so that a fork finds every lock held somewhere.
FORK_AMONG_THREADS = (
    RECORD
    + """
import threading
done = threading.Event()

def record_until_done():
    while not done.is_set():
        record()

threads = [threading.Thread(target=record_until_done, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(15):
    pid = os.fork()
    if pid == 0:
        record(5)
        assert llm_audit.shutdown(PATIENCE)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
done.set()
for thread in threads:
    thread.join()
"""
)

EXIT_WITH_MUCH_TO_SHIP = (
    RECORD
    + """
record(2_000)
LLMLogger.start(model="m", messages=[{"role": "user", "content": "left open"}])
"""
)

EXIT_BY_EXCEPTION = (
    RECORD
    + """
record(10)
with LLMLogger.log_call(model="m", messages=[{"role": "user", "content": "exits"}]):
    sys.exit(0)
"""
)

# Registered before llm_audit is imported, so it runs after llm_audit has stopped.
RECORD_AFTER_THE_END = (
    """
import atexit
atexit.register(lambda: record(3))
"""
    + RECORD
    + "record(5)\n"
)

pytestmark = pytest.mark.usefixtures("recording")


@pytest.mark.parametrize("script", [FORK, FORK_AMONG_THREADS], ids=["quiet", "threads"])
def test_parent_and_forked_children_deliver(
    recording: Recording, calls: Calls, script: str
) -> None:
    """After os.fork, parent and children each deliver their own, with warnings as errors."""
    by_id = said(output_of(script, recording()))
    assert len(set(by_id.values())) >= 5
    assert_all_there(calls, by_id)
    assert calls.count_documents({}) == len(by_id)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(recording: Recording, calls: Calls, method: str) -> None:
    """A pool of forked or spawned processes delivers everything, and so does its parent."""
    settings = recording()
    ids = record_here(10)
    with multiprocessing.get_context(method).Pool(2) as pool:
        for part in pool.starmap(record_in_child, [(settings, 20)] * 4):
            ids += part
    ids += record_here(10)
    assert llm_audit.flush(PATIENCE)

    stored = {call["_id"]: call["pid"] for call in calls.find({"status": "SUCCESS"})}
    assert stored.keys() == set(ids)
    assert len(set(ids)) == 100


def test_an_exit_delivers_what_is_left(recording: Recording, calls: Calls) -> None:
    """A script that ends with a full queue and a call open has delivered both."""
    by_id = said(output_of(EXIT_WITH_MUCH_TO_SHIP, recording(), anew=True))

    assert calls.count_documents({"status": "SUCCESS"}) == len(by_id) == 2_000
    left_open = calls.find_one({"messages.content": "left open"})
    assert left_open is not None
    assert (left_open["status"], left_open["ended_by"]) == ("INCOMPLETE", "process_exit")
    assert left_open["latency_ms"] > 0


def test_a_script_that_ends_at_once_delivers(recording: Recording, calls: Calls) -> None:
    """A script whose last line records its only call has delivered it when it is gone."""
    by_id = said(output_of(RECORD + "record()", recording()))
    assert {call["_id"] for call in calls.find({"status": "SUCCESS"})} == by_id.keys()


def test_sys_exit_in_a_call_is_incomplete(recording: Recording, calls: Calls) -> None:
    """A call whose block is left by sys.exit() did not fail: it is INCOMPLETE."""
    by_id = said(output_of(EXIT_BY_EXCEPTION, recording(), anew=True))

    assert calls.count_documents({"status": "SUCCESS"}) == len(by_id)
    call = calls.find_one({"messages.content": "exits"})
    assert call is not None
    assert (call["status"], call["ended_by"]) == ("INCOMPLETE", "process_exit")


def test_a_record_after_the_end_is_not_lost(recording: Recording, calls: Calls) -> None:
    """What is recorded in an atexit handler that runs after ours waits for the next process."""
    with child(RECORD_AFTER_THE_END, recording(), anew=True) as process:
        output, _ = process.communicate()
        assert process.returncode == 0
    by_id = said(output.splitlines())
    assert len(by_id) == 8
    assert_all_there(calls, by_id)
