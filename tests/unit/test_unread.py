"""What is seen on the wire waits in the journal as it came, and is read as if it were at once."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bson
import pytest
from recorded_traffic import TRAFFIC, recorded_calls

from llm_audit import exchange
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.journal.records import OWN, RECEIVED, SENT, START, Record
from llm_audit.journal.segments.files import find_segments
from llm_audit.recorder.journaling import Journaling
from llm_audit.settings import changed_settings, get_settings
from llm_audit.testing import RecordedCalls
from llm_audit.wire.apis import Asked, asked, confirmed

OF_THE_MOMENT = {"latency_ms", "completed_at", "outcome_key", "trace_id"}
Seen = tuple[exchange.Sent, exchange.Received]
Made = tuple[dict[str, Any], Sequence[str]]


def journaled() -> list[Record]:
    """Read what is in the journal, and once more the same."""
    read, again = (
        [
            record
            for folder in sorted(Path(get_settings().spool_dir).glob("*/*-*"))
            for segment in find_segments(folder)
            for record in segment.read_on(2**30)
        ]
        for _ in range(2)
    )
    assert read == again
    return read


def operations() -> list[str]:
    """Return the ops of all that is on the disk, each once."""
    files = Path(get_settings().spool_dir).rglob("*.bson")
    raw = [record for file in files for record in bson.decode_all(file.read_bytes())]
    return sorted({record["op"] for record in raw})


def recorded(seen: list[Seen]) -> list[tuple[Made, Made]]:
    """Record calls that were seen; return what their starts and their ends are read as."""
    ids = []
    for request, answer in seen:
        ids.append(exchange.begin(request))
        exchange.end(ids[-1], answer, time.monotonic_ns())
    made = {(record.id, record.op): record for record in journaled()}
    return [(parts(made[call_id, START]), parts(made[call_id, OWN])) for call_id in ids]


def parts(record: Record) -> Made:
    fields = bson.decode(record.doc, CODEC_OPTIONS)
    return {n: v for n, v in fields.items() if n not in OF_THE_MOMENT}, record.notes


def asked_by(url: str, body: bytes) -> Asked | None:
    found, parts = asked("POST", urlsplit(url).path), urlsplit(url)
    return found and confirmed(found, parts.netloc, body)


def traffic() -> Iterator[tuple[str, Seen]]:
    """Yield what was recorded of real calls as it is seen on the wire, under its id."""
    for number, call in enumerate(recorded_calls()):
        request = call["request"]
        text = json.dumps(request, ensure_ascii=number % 3 == 0) if request else None
        body = (text or call.get("request_text") or "").encode()
        if (api := asked_by(call["url"], body)) is None:
            continue
        answer = json.dumps(call["response"], ensure_ascii=number % 2 == 0).encode()
        kind = "application/json"
        if call["response"] is None:
            stream, packed = call.get("sse"), call.get("body_b64")
            answer = base64.b64decode(packed) if packed else (stream or "").encode()
            kind = "text/event-stream"
        known = {"endpoint": call["url"].partition("?")[0], "provider": call["provider"]}
        sent = exchange.Sent("httpx", api, body=body, content_type="application/json", **known)
        yield call["id"], (sent, exchange.Received(api, answer, call["status"], kind))


@pytest.fixture(name="in_production")
def recorded_as_in_production(llm_audit_records: RecordedCalls) -> Iterator[RecordedCalls]:
    """Leave strict mode, and the rules that a few bodies would have to be read for."""
    with changed_settings(strict=False, redact_secrets=False):
        yield llm_audit_records


@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
@pytest.mark.usefixtures("in_production")
def test_recorded_calls_are_the_same_read_at_once_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Request and answer of every recorded call, streams too, give the same either way."""
    names, seen = zip(*traffic(), strict=True)
    later = recorded([*seen])
    assert operations() == [RECEIVED, SENT]
    monkeypatch.setattr(Journaling, "_as_seen", lambda *_: None)
    at_once = recorded([*seen])
    assert set(operations()) == {OWN, RECEIVED, SENT, START}
    assert len(names) > 900
    for name, one, other in zip(names, later, at_once, strict=True):
        for read_later, read_at_once in zip(one, other, strict=True):
            fields, same = read_later[0], read_at_once[0]
            different = [n for n in fields.keys() | same.keys() if fields.get(n) != same.get(n)]
            assert (different, read_later[1]) == ([], read_at_once[1]), name
