"""However a client is called, the call is one record, once, with its right end."""

import json
from typing import TYPE_CHECKING

from replay.running import running
from replay.server import Received, ReplayServer

import llm_audit
from llm_audit import response_of
from llm_audit.capture.instrument import instrument, uninstrument
from llm_audit.testing.records import RecordedCall, RecordedCalls
from llm_audit.wire.requests import request_of

if TYPE_CHECKING:
    from replay.ways import Way


def test_every_way_of_calling_is_one_record(llm_audit_records: RecordedCalls) -> None:
    """Each way of calling each client gives one record, which succeeds, with what was sent."""
    # here: the clients take seconds to load
    import replay.ways.of_openai
    import replay.ways.of_others  # noqa: F401 - both fill the list
    from replay.compare import tagged
    from replay.ways import WAYS

    received: dict[str, Received] = {}
    instrument()
    try:
        with ReplayServer() as server, running() as run:
            for way in WAYS:
                server.play(*way.answers)
                with llm_audit.audit_context(tags=[way.name]):
                    way.go(server.url, run)
                received[way.name] = server.received[0]
    finally:
        uninstrument()
    records = tagged(llm_audit_records)
    wrong = [
        fault
        for way in WAYS
        if (fault := _fault(way, records.get(way.name, []), received[way.name]))
    ]
    assert not wrong, "\n".join(wrong)


def _fault(way: "Way", records: list[RecordedCall], received: Received) -> str | None:
    """Return what is wrong with what a way of calling has left."""
    found = [(one.status, one.api, bool(one.streamed)) for one in records]
    if found != [("SUCCESS", way.api, way.streamed)]:
        return f"{way.name}: {found} {[one.error_message for one in records]}"
    (record,) = records
    if received.body.startswith(b"{") and request_of(record) != json.loads(received.body):
        return f"{way.name}: the request is {request_of(record)}"
    if way.answers[-1].content_type != "audio/mpeg" and not response_of(record):
        return f"{way.name}: no response"
    return None
