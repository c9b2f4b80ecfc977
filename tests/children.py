"""Python processes that record, and are ended in every way."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import warm
from patience import PATIENCE
from waiting import Calls, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.settings import Settings, get_settings

# Warnings are errors in children too. The exception is Python's own about fork in a threaded
# process (from 3.12), which is what the tests of fork are about.
FLAGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")


RECORD = """
import os, sys
import llm_audit
from llm_audit import LLMLogger
from patience import PATIENCE

def record(count=1):
    for _ in range(count):
        message = {"role": "user", "content": str(os.getpid())}
        call_id = LLMLogger.start(model="m", messages=[message])
        LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "y"})
        os.write(1, f"{os.getpid()} {call_id}\\n".encode())
"""


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment in which a child records with the same settings."""
    names = ("mongo_url", "database", "spool_dir", "strict", "create_collection", "shipper")
    values = {name: getattr(settings, name) for name in names}
    values["mongo_url"] = settings.mongo_url.get_secret_value()
    ours = {f"LLM_AUDIT_{name.upper()}": str(value) for name, value in values.items()}
    return {**os.environ, **ours, "PYTHONPATH": str(Path(__file__).parent)}  # for `patience`


@contextmanager
def started(
    command: list[str],
    variables: dict[str, str],
    *,
    stdin: int,
    stderr: int,
    start: Callable[..., subprocess.Popen[str]] = subprocess.Popen,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a session of its own, and read it, until the block is left."""
    process = start(
        command,
        env=variables,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it and all that it has forked have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def child(
    script: str, settings: Settings, *arguments: str, anew: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run a script in a process of its own until the block is left; its output is unbuffered.

    Args:
        script: Its text.
        settings: To record with.
        *arguments: Of the script.
        anew: Start an interpreter that has imported nothing: the test is about its start or end.
    """
    command = [sys.executable, *FLAGS, "-u", "-c", script, *arguments]
    pipe, start = subprocess.PIPE, subprocess.Popen if anew else warm.start
    with started(command, environment(settings), stdin=pipe, stderr=pipe, start=start) as process:
        yield process


def output_of(script: str, settings: Settings, *arguments: str, anew: bool = False) -> list[str]:
    """Run a script to its end, a silent success, and return the lines it printed."""
    with child(script, settings, *arguments, anew=anew) as process:
        output, errors = process.communicate()
        assert (process.returncode, errors) == (0, ""), (process.returncode, errors)
        return output.splitlines()


def record_here(count: int) -> list[str]:
    """Record in whatever process this is, and return the ids."""
    ids = [LLMLogger.start(model="m", messages=[]) for _ in range(count)]
    for call_id in ids:
        LLMLogger.complete(call_id)
    return [str(call_id) for call_id in ids]


def record_in_child(settings: Settings, count: int) -> list[str]:
    """Record and flush in a child of multiprocessing, forked or spawned."""
    if get_settings() != settings:  # a spawned child starts from nothing
        llm_audit.configure(**dict(settings))
    ids = record_here(count)
    assert llm_audit.flush(PATIENCE)
    return ids


def said(lines: list[str]) -> dict[str, str]:
    """Return the process that each call was recorded in, by the call's id."""
    pairs = [line.split() for line in lines]
    by_id = {call_id: pid for pid, call_id in pairs}
    assert len(by_id) == len(pairs), "two calls have the same id"
    return by_id


def assert_all_there(calls: Calls, by_id: dict[str, str]) -> None:
    """Assert that exactly these calls are in MongoDB, each whole and from its own process."""
    # what a child left that ended without a flush is there when somebody has looked
    llm_audit.recover()
    until(lambda: calls.count_documents({"status": "SUCCESS"}) >= len(by_id))
    found = {call["_id"]: call for call in calls.find({"status": "SUCCESS"})}
    assert found.keys() == by_id.keys()
    for call_id, call in found.items():
        assert call["messages"][0]["content"] == str(call["pid"]) == by_id[call_id]
    nonces = {(call["pid"], call["process_nonce"]) for call in found.values()}
    assert len({nonce for _, nonce in nonces}) == len(nonces)
