"""However a client is called, the call is one record, once, with its right end."""

import gc
import json

from replay.server import ReplayServer
from replay.ways import WAYS

from llm_audit.capture.instrument import instrument, uninstrument
from llm_audit.providers.whole import response_of
from llm_audit.testing.records import RecordedCalls
from llm_audit.wire.requests import request_of


def test_every_way_of_calling_is_one_record(llm_audit_records: RecordedCalls) -> None:
    """Each way of calling each client gives one record, which succeeds, with what was sent."""
    wrong: list[str] = []
    instrument()
    try:
        with ReplayServer() as server:
            for way in WAYS:
                server.play(*way.answers)
                before = len(llm_audit_records)
                way.go(server.url)
                gc.collect()
                records = llm_audit_records[before:]
                found = [(one.status, one.api, bool(one.streamed)) for one in records]
                if found != [("SUCCESS", way.api, way.streamed)]:
                    wrong.append(f"{way.name}: {found} {[one.error_message for one in records]}")
                    continue
                sent = server.received[0].body
                if sent.startswith(b"{") and request_of(records[0]) != json.loads(sent):
                    wrong.append(f"{way.name}: the request is {request_of(records[0])}")
                if not response_of(records[0]) and way.api != "openai.audio.speech":
                    wrong.append(f"{way.name}: no response")
    finally:
        uninstrument()
    assert wrong == []
