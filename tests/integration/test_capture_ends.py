"""How captured calls end whose process ends first."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import httpx2
import openai
import pytest
from children import FLAGS, environment
from scripted_provider import CHAT, STREAM, Provider, scripted_provider
from waiting import PATIENCE, Calls, Recording, ended_calls, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.capture import calls as captured_calls
from llm_audit.diagnosis.problems_of_processes import of_capture
from llm_audit.diagnosis.results import Diagnosis, ProcessReport
from llm_audit.recorder import process
from llm_audit.recorder.captured import Captured

COUNTS = ("captured", "captured_by_hand", "capture_faults")
WORDS = {"role": "assistant", "content": "In Pa"}
SCRIPT = """
import os, sys, time, llm_audit
llm_audit.instrument()
import httpx2
client = httpx2.Client()

def ask(retries=0):
    headers = {"x-stainless-retry-count": str(retries)}  # as clients made by Stainless say it
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
    request = client.build_request("POST", sys.argv[1], json=body, headers=headers)
    return client.send(request, stream=True)
"""
READ = """
chunks = ask().iter_bytes()
for chunk in chunks:
    if b"Pa" in chunk:
        print("here", flush=True)
"""


def run(script: str, provider: Provider, recording: Any) -> Any:
    """Run a process that asks the provider."""
    command = [sys.executable, *FLAGS, "-c", SCRIPT + script, provider.url + CHAT]
    variables = environment(recording())
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)


def found(calls: Calls) -> dict[str, Any]:
    """Return the one call, once whoever is dead has been looked after."""
    assert llm_audit.recover(timeout_seconds=PATIENCE)
    (call,) = ended_calls(calls, {}, 1)
    return call


@pytest.mark.parametrize("end", ["sys.exit()", "time.sleep(99)"])
def test_a_process_ends_in_mid_stream(end: str, recording: Recording, calls: Calls) -> None:
    """Killed or not, the call is there with what was asked, and with what came if it could."""
    with scripted_provider() as provider:
        provider.stream((*STREAM[:3], b": more\n\n"), wait=provider.hold)
        running = run(f"{READ}        {end}", provider, recording)
        assert running.stdout.readline() == "here\n"
        if "sleep" in end:
            running.kill()
        running.communicate(timeout=PATIENCE)
    call = found(calls)

    assert (call["model"], len(call["messages"])) == ("gpt-5", 1)
    if "sleep" in end:
        assert call["status"] == "ABANDONED"
    else:
        assert (call["status"], call["ended_by"]) == ("INCOMPLETE", "process_exit")
        assert call["response_message"] == WORDS


def test_a_failure_stands_whatever_becomes_of_the_process(
    recording: Recording, calls: Calls
) -> None:
    """A client that gives up leaves its last failure, also if its process is killed at once."""
    with scripted_provider() as provider:
        for _ in range(2):
            provider.refuse(500)
        script = "for number in range(2): ask(number).read()\nos.kill(os.getpid(), 9)"
        running = run(script, provider, recording)
        running.communicate(timeout=PATIENCE)
        assert running.returncode == -signal.SIGKILL
    call = found(calls)

    assert (call["status"], call["http_status"]) == ("ERROR", 500)
    assert [attempt["status"] for attempt in call["attempts"]] == [500, 500]


def test_a_call_is_open_while_its_client_tries_again(recording: Recording, calls: Calls) -> None:
    """It is PENDING, with what has failed so far; killed then, it is abandoned like any other."""
    with scripted_provider() as provider:
        provider.refuse(500)
        provider.stream(wait=provider.hold)
        running = run("ask().read()\nask(1).read()", provider, recording)
        until(
            lambda: calls.count_documents({"status": "PENDING", "attempts.status": 500}) == 1,
            instead=lambda: f"{list(calls.find())}",
        )
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=PATIENCE)
        call = found(calls)
        assert (call["status"], call.get("http_status")) == ("ABANDONED", None)


def test_a_later_failure_of_a_call_counts_more(recording: Recording, calls: Calls) -> None:
    """In MongoDB, too, the last attempt stands, and an answer before all."""
    recording()
    llm_audit.instrument()
    try:
        with (
            scripted_provider() as provider,
            openai.OpenAI(api_key="k", base_url=f"{provider.url}/v1", max_retries=2) as client,
        ):
            for answers in ((500, 503, 429), (500, 503), (500, 400)):
                for status in answers:
                    provider.refuse(status, retry_after_ms="1")
                with suppress(openai.APIStatusError):
                    client.chat.completions.create(model="m", messages=[])
        assert llm_audit.flush(PATIENCE)
    finally:
        llm_audit.uninstrument()
        captured_calls.last_begun.set(None)
    found = list(calls.find().sort("_id", 1))

    assert [(call["status"], call.get("http_status")) for call in found] == [
        ("ERROR", 429),
        ("SUCCESS", None),
        ("ERROR", 400),
    ]
    assert [len(call["attempts"]) for call in found] == [3, 3, 2]
    assert os.getpid() == found[0]["pid"]


def test_the_doctor_knows_a_process_that_captured_none_of_the_calls_that_were_made(
    recording: Recording, calls: Calls
) -> None:
    """Clients were named that nobody uses; who asks no model at all is not even connected."""
    recording()
    llm_audit.instrument("mistralai")
    try:
        with scripted_provider() as provider:
            httpx2.post(f"{provider.url}/reviews", json={})
            assert process.running() is None
            for _ in range(2):
                httpx2.post(f"{provider.url}{CHAT}", json={"model": "m", "messages": []})
        assert llm_audit.shutdown(PATIENCE)
    finally:
        llm_audit.uninstrument()
    diagnosis = llm_audit.doctor()
    (report,), (problem,) = diagnosis.processes, of_capture(diagnosis)

    assert (report.instrumented, report.passed_by, report.recorded) == (["mistralai"], 2, 0)
    assert "records the calls of mistralai and saw none, while other clients made 2" in problem
    assert problem in diagnosis.problems
    assert calls.count_documents({}) == 0


def test_who_died_need_not_have_said_what_it_captured() -> None:
    """Its calls are counted by whoever ships its journal, after its own last word."""
    said = {"instrumented": ["all"], "clients_loaded": ["openai"], "begun": 3, "captured": 0}
    for state, count in (("alive", 1), ("ended", 1), ("recovered", 0), ("lost", 0)):
        process = ProcessReport(nonce="n", state=state, summary="", **said)
        assert len(list(of_capture(Diagnosis(processes=[process])))) == count, state


def test_the_doctor_says_whose_calls_are_captured(recording: Recording, calls: Calls) -> None:
    """And that there is none, where clients are loaded and the app records by hand.

    What was captured before the last `shutdown()` is another recorder's, and said of that.
    """
    recording()
    Captured.counts.calls, Captured.counts.by_hand, Captured.counts.faults = 1, 2, 3
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    llm_audit.shutdown(PATIENCE)
    assert [llm_audit.stats()[name] for name in COUNTS] == [1, 2, 3]
    assert [problem for problem in of_capture(llm_audit.doctor()) if "failed 3 times" in problem]
    calls.database["llm_audit_processes"].drop()
    calls.drop()
    llm_audit.instrument()
    try:
        LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
        assert llm_audit.flush(PATIENCE)
        process.recorder().shipper.life.soon()
        until(lambda: any(of_capture(llm_audit.doctor())))
        (problem,) = of_capture(llm_audit.doctor())
        assert "captured nothing, while 1 call was recorded by hand" in problem
        with scripted_provider() as provider:
            body = {"model": "m", "messages": []}
            httpx2.post(f"{provider.url}/v1/chat/completions", json=body)
        assert llm_audit.shutdown(PATIENCE)
    finally:
        llm_audit.uninstrument()
    (report,) = llm_audit.doctor().processes

    assert (report.instrumented, report.captured, report.capture_faults) == (["all"], 1, 0)
    assert "calls of all are recorded by themselves" in report.summary
    assert calls.count_documents({}) == 2
