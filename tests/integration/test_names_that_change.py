"""Hosts and processes whose names are not their own: equal in all containers, or changed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from children import FLAGS, environment
from patience import PATIENCE
from waiting import Calls, Recording, ended_calls

# Each is process 1, or a later one, of a container named `worker`.
CONTAINER = """
import os, socket
import llm_audit
from llm_audit import LLMLogger
from patience import PATIENCE

socket.sethostname("worker")

def record(model):
    LLMLogger.complete(LLMLogger.start(model=model, messages=[]))
    call_id = LLMLogger.start(model=model, messages=[])
    assert llm_audit.flush(PATIENCE)
    print(os.getpid(), socket.gethostname(), flush=True)
    return call_id
"""
LIVES = CONTAINER + 'call_id = record("lives")\ninput()\nLLMLogger.complete(call_id)\n'
DIES = CONTAINER + 'record("dies")\ninput()\n'
RECOVERS = CONTAINER + 'record("recovers")\nprint(llm_audit.recover(PATIENCE))\n'
# the recorder was made under the name that the host had before
RENAMED = RECOVERS.replace("print(llm", 'socket.sethostname("renamed")\nprint(llm')
UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts")
AS_PROCESS_2 = ("sh", "-c", '"$@"; exit $?', "sh")


def skip_unless_there_are_namespaces() -> None:
    if shutil.which("unshare") is None or subprocess.call([*UNSHARE, "true"]):
        pytest.skip("this machine allows no namespaces")


@contextmanager
def container(
    script: str, variables: dict[str, str], *, behind: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run a script as a process of a container of its own."""
    process = subprocess.Popen(
        [*UNSHARE, *behind, sys.executable, *FLAGS, "-u", "-c", script],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_containers_with_one_name(recording: Recording, calls: Calls) -> None:
    """Over one spool the dead are found, the living are let live, and nobody waits for them."""
    skip_unless_there_are_namespaces()
    variables = environment(recording())
    with (
        container(LIVES, variables, behind=AS_PROCESS_2) as lives,
        container(DIES, variables) as dies,
        container(RECOVERS, variables) as recovers,
    ):
        assert said(lives) == "2 worker"
        assert said(dies) == said(recovers) == "1 worker"
        dies.kill()
        dies.communicate()  # returns when the container is gone
        with container(RENAMED, variables) as renamed:  # restarted, under the name it had
            assert (said(renamed), said(renamed)) == ("1 worker", "True")
            renamed.communicate()
        ended_calls(calls, {"model": "dies"}, 2)
        assert calls.count_documents({"model": "lives", "status": "PENDING"}) == 1
        assert said(recovers) == "True"
        recovers.communicate()
        lives.communicate("end\n", timeout=PATIENCE)

    by_model = {
        model: sorted(call["status"] for call in calls.find({"model": model}))
        for model in ("lives", "dies", "recovers")
    }
    assert by_model["lives"] == ["SUCCESS", "SUCCESS"]
    assert by_model["dies"] == ["ABANDONED", "SUCCESS"]
    assert by_model["recovers"] == ["INCOMPLETE", "INCOMPLETE", "SUCCESS", "SUCCESS"]
    assert calls.distinct("host") == ["worker"]
