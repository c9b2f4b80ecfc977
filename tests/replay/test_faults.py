"""Whatever happens to a call, on the way or in the app: one record, once, that says what it was."""

import gc
import inspect
import json
import threading
from typing import TYPE_CHECKING

import pytest
from replay.running import running
from replay.server import ReplayServer

import llm_audit
from llm_audit import response_of
from llm_audit.capture.instrument import instrument, uninstrument
from llm_audit.testing.records import RecordedCall, RecordedCalls

if TYPE_CHECKING:
    from replay.faulty import Fault


def test_every_fault_is_one_record(llm_audit_records: RecordedCalls) -> None:
    """Cut, slow, cancelled, refused, left: one record with the right status, cause and content."""
    # here: the clients take seconds to load
    from replay.compare import tagged
    from replay.faulty import FAULTS

    instrument()
    try:
        with ReplayServer() as server, running() as run:
            for fault in FAULTS:
                server.play(*fault.answers)
                with llm_audit.audit_context(tags=[fault.name]):
                    asked = fault.ask(server)
                    if inspect.iscoroutine(asked):
                        run(asked)
                server.go_on.set()
    finally:
        uninstrument()
    records = tagged(llm_audit_records)
    wrong = [said for fault in FAULTS if (said := _wrong(fault, records.get(fault.name, [])))]
    assert not wrong, "\n".join(wrong)


def _wrong(fault: "Fault", records: list[RecordedCall]) -> str | None:
    """Return what is wrong with what a fault has left."""
    if len(records) != 1:
        return f"{fault.name}: {records}"
    (record,) = records
    expected = (fault.status, fault.http_status, fault.attempts)
    found = (str(record.status), record.http_status, len(record.attempts))
    if expected != found or (fault.ended_by and record.ended_by != fault.ended_by):
        said = f"{record.ended_by} {record.error_type} {record.error_message}"
        return f"{fault.name}: {found}, {said}"
    text = json.dumps(response_of(record))
    if fault.kept not in text:
        return f"{fault.name}: kept is {text}"
    return None


def test_streams_are_collected_anywhere(
    llm_audit_records: RecordedCalls, request: pytest.FixtureRequest
) -> None:
    """Streams that the garbage collector closes while others are recorded harm neither."""
    from replay.faulty import LONG_STREAM
    from replay.ways import gpt

    request.addfinalizer(uninstrument)
    before = gc.get_threshold()
    request.addfinalizer(lambda: gc.set_threshold(*before))
    instrument()
    with ReplayServer() as server, running():
        server.play(LONG_STREAM)
        client = gpt(server.url)
        gc.set_threshold(30)  # it runs within whatever is recorded, and under its locks

        def ask() -> None:
            for reads in range(20):
                stream = client.chat.completions.create(model="m", messages=[], stream=True)
                if reads % 2:
                    next(stream)
                circle = [stream]
                circle.append(circle)  # only the collector takes it away

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()
    assert [record.status for record in llm_audit_records] == ["INCOMPLETE"] * 80
