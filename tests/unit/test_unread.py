"""What is seen on the wire waits in the journal as it came, and is read as if it were at once."""

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bson
import pytest
from bson.binary import UuidRepresentation
from journaled import journaled
from patience import LONG, share
from properties import given, st
from recorded_traffic import TRAFFIC, recorded_calls

from llm_audit import audit_context, exchange
from llm_audit.call import CallFields, LLMCallStatusEnum
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.given import received, sent
from llm_audit.journal import records
from llm_audit.journal.beliefs import of_process
from llm_audit.journal.records import OTHER, OWN, RECEIVED, SENT, START, Record
from llm_audit.journal.segments.found import find_segments
from llm_audit.journal.unread import made_of
from llm_audit.recorder.journaling import Journaling
from llm_audit.settings import changed_settings, get_settings
from llm_audit.testing import RecordedCalls
from llm_audit.wire.api import Api
from llm_audit.wire.apis import ROWS, Asked, confirmed, matched
from llm_audit.wire.to_come import may_be_to_come

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OF_THE_MOMENT = {"latency_ms", "completed_at", "outcome_key", "trace_id"}
ANY_VALUE = CODEC_OPTIONS.with_options(
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)
Seen = tuple[exchange.Sent, exchange.Received]
Made = tuple[dict[str, Any], Sequence[str]]


def counted() -> Counter[str]:
    """Return how many there are on the disk of each op."""
    files = Path(get_settings().spool_dir).rglob("*.bson")
    return Counter(one["op"] for file in files for one in bson.decode_all(file.read_bytes()))


def operations() -> list[str]:
    """Return the ops of all that is on the disk, each once."""
    return sorted(counted())


def recorded(seen: list[Seen]) -> list[tuple[Made, Made]]:
    """Record calls that were seen; return what their starts and their ends are read as."""
    ids = []
    for request, answer in seen:
        ids.append(exchange.begin(request))
        exchange.end(ids[-1], answer, time.monotonic_ns())
    # what is answered in the background ends as a call that was left: an OTHER
    made = {(record.id, record.op == START): record for record in journaled()}
    return [(parts(made[call_id, True]), parts(made[call_id, False])) for call_id in ids]


def parts(record: Record) -> Made:
    fields = bson.decode(record.doc, CODEC_OPTIONS)
    return {n: v for n, v in fields.items() if n not in OF_THE_MOMENT}, record.notes


def asked_by(url: str, body: bytes) -> Asked | None:
    found, parts = matched("POST", urlsplit(url).path), urlsplit(url)
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


@pytest.mark.many
@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
@pytest.mark.usefixtures("in_production")
def test_recorded_calls_are_the_same_read_at_once_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Request and answer of every recorded call, streams too, give the same either way."""
    names, seen = zip(*share(traffic(), 4), strict=True)
    later = recorded([*seen])
    # whether a result is still to come is known at once, and so is its answer read
    whole = [
        not may_be_to_come(said.asked.api.api, said.body, None, streamed=said.streamed)
        for _, said in seen
    ]
    assert (counted()[SENT], counted()[RECEIVED]) == (len(seen), sum(whole))
    assert sum(whole) > 0.9 * len(whole)
    monkeypatch.setattr(Journaling, "_as_seen", lambda *_: None)
    at_once = recorded([*seen])
    assert set(operations()) == {OTHER, OWN, RECEIVED, SENT, START}
    assert len(names) > (900 if LONG else 225)
    for name, one, other in zip(names, later, at_once, strict=True):
        for read_later, read_at_once in zip(one, other, strict=True):
            fields, same = read_later[0], read_at_once[0]
            different = [n for n in fields.keys() | same.keys() if fields.get(n) != same.get(n)]
            assert (different, read_later[1]) == ([], read_at_once[1]), name


# What a request may be made of that is not journaled as it came


URL = "https://api.openai.com/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Where is the Louvre?"}]
ANSWER = {
    "model": "gpt-5-1",
    "choices": [{"message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
}


def seen(request: Any = None, answer: Any = None, **given: Any) -> Seen:
    """Return a call as it is seen; by default a plain one."""
    asked_for = {"model": "gpt-5", "messages": MESSAGES} if request is None else request
    body = asked_for if isinstance(asked_for, bytes) else json.dumps(asked_for).encode()
    api = asked_by(URL, b'"messages"')
    assert api
    answered = ANSWER if answer is None else answer
    came = answered if isinstance(answered, bytes) else json.dumps(answered).encode()
    sent = exchange.Sent("httpx", api, URL, body, "application/json", "openai")
    return sent, exchange.Received(api, came, 200, "application/json", **given)


def test_what_a_rule_of_the_users_has_to_see_is_read_at_once(
    llm_audit_records: RecordedCalls,
) -> None:
    """So what it is for never is on the disk."""
    with changed_settings(redact="email"):
        recorded([seen({"model": "m", "messages": [{"role": "user", "content": "a@b.example"}]})])
    assert operations() == [OWN, START]
    assert llm_audit_records[-1].messages[0]["content"] == "[redacted:email]"
    assert llm_audit_records[-1].redacted == {"email": 1}


def test_what_only_this_process_can_price_is_read_here(llm_audit_records: RecordedCalls) -> None:
    """Who adopts a journal does not know the user's own prices."""
    with changed_settings(prices=lambda _: 0.5):
        recorded([seen()])
    assert operations() == [OWN, SENT]
    assert llm_audit_records[-1].estimated_cost == 0.5


@pytest.mark.usefixtures("llm_audit_records")
def test_what_starts_have_in_common_is_in_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is encoded once, whatever each says beside it: a secret is replaced there, too."""
    key = "sk-proj-9sECRETmARK0123456789"
    around: list[dict[str, Any]] = [
        {"tags": ["a"], "metadata": {"plan": {"free": True}}},
        {"metadata": {"plan": {"free": 1}}, "trace_id": "t" * 300},
        {"user_id": key, "call_type": "SUMMARIZATION"},
        {"parent_call_id": "p", "review_id": "r"},
        {"metadata": {"url": f"https://a/{key}"}},
    ]
    requests = [seen(), seen({"model": "m", "messages": [{"role": "user", "content": "a\\b"}]})]
    for place in (f"https://a/{key}/v1/chat/completions", "https://a/" + "v" * 5_000):
        requests.append((requests[0][0]._replace(endpoint=place), requests[0][1]))

    def starts() -> list[Made]:
        found = []
        for _ in range(2):
            found += recorded(requests)
            for context in around:
                with audit_context(**context):
                    found += recorded(requests)
        return [start for start, _ in found]

    in_common = starts()
    monkeypatch.setattr(Journaling, "_in_common", lambda *_: (frozenset({"body"}), b""))
    alone = starts()
    assert [str(sorted(f.items())) for f, _ in in_common] == [
        str(sorted(f.items())) for f, _ in alone
    ]
    assert [notes for _, notes in in_common] == [notes for _, notes in alone]
    files = Path(get_settings().spool_dir).rglob("*.bson")
    assert b"9sECRETmARK" not in b"".join(file.read_bytes() for file in files)


def test_a_secret_is_replaced_before_it_is_journaled(llm_audit_records: RecordedCalls) -> None:
    """In a request, in an answer, and in a stream that has it in pieces."""
    key = "sk-proj-9sECRETmARK0123456789"
    said = {"choices": [{"message": {"role": "assistant", "content": f"It is {key}."}}]}
    pieces = [{"choices": [{"index": 0, "delta": {"content": one}}]} for one in f"It is {key}."]
    stream = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces).encode()
    recorded(
        [
            seen({"model": "m", "messages": [{"role": "user", "content": key}]}),
            seen(answer=said),
            seen(answer=stream, streamed=True),
        ]
    )
    files = Path(get_settings().spool_dir).rglob("*.bson")
    on_disk = b"".join(file.read_bytes() for file in files)
    assert b"9sECRETmARK" not in on_disk
    assert b"9sECRET" not in on_disk.replace(b'"', b"")
    assert [call.redacted for call in llm_audit_records] == [{"provider_key": 1}] * 3


@pytest.mark.usefixtures("in_production")
def test_media_move_out_when_it_is_read() -> None:
    """Long base64 goes to files beside the journal, each time the same."""
    picture = base64.b64encode(bytes(range(256)) * 2_000).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    message = {"role": "assistant", "content": "Here", "images": [part]}
    [(start, own)] = recorded(
        [
            seen(
                {"model": "m", "messages": [{"role": "user", "content": [part]}]},
                {"choices": [{"message": message}]},
            )
        ]
    )
    assert operations() == [RECEIVED, SENT]
    moved = start[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert (moved["kind"], moved["length"]) == ("str", len(picture) + 22)
    assert "moved to GridFS" in start[1][0]
    assert own[0]["response_message"]["images"][0]["image_url"]["url"] == moved
    [folder] = Path(get_settings().spool_dir).glob("*/*-*")
    files = {file.name for file in folder.glob("*.blob")}
    assert files == {name for record in journaled() for name in record.blobs}
    assert len(files) == 2
    for segment in find_segments(folder):
        read = [*segment.read_on(2**30)]
        segment.blobs += [name for record in read for name in record.blobs]
        segment.delete()
    assert not [*folder.glob("*.blob")]


@pytest.mark.usefixtures("in_production")
def test_no_body_stops_whoever_reads_it() -> None:
    """What cannot be read is kept as it came, and the calls around it are what they are."""
    deep = b'{"messages": ' + b"[" * 100_000
    odd = [b"", b"\xff\xfe\x00", b"[" * 100_000, deep, b"{" * 9, b'"\\ud800"', b"\x1f\x8b\x08"]
    odd += [b'{"messages": [' + b"[]," * 1_100_000 + b"0]}"]
    odd += [b'{"model": NaN, "messages": [1e999]}', b'{"a": 1' + b"0" * 5_000 + b"}", b"null"]
    odd += [
        json.dumps({"model": value, "messages": value, "tools": value}).encode()
        for value in (5, True, None, "x" * 9_999, [[1]], {"$ref": "a", "$id": 1})
    ]
    calls = [seen(), *(seen(body, body) for body in odd)]
    calls += [seen(body, body, content_encoding="gzip", streamed=True) for body in odd]
    calls += [seen()]
    made = recorded(calls)
    assert {SENT, RECEIVED} <= set(operations())
    for fields, notes in (made[0][0], made[-1][0]):
        assert (fields["messages"], notes) == (MESSAGES, ())
    assert {own[0]["status"] for _, own in made} <= {"SUCCESS", "INCOMPLETE"}


def test_where_the_spool_is_full_who_and_how_much_stay(llm_audit_records: RecordedCalls) -> None:
    """Then it is read at once, and what was said is left out."""
    large = {"model": "gpt-5", "messages": [*MESSAGES, {"x": "y" * 5_000}]}
    with changed_settings(spool_max_bytes=200_000):
        recorded([seen(large)])
        while llm_audit_records[-1].messages:
            recorded([seen(large)])
        call = llm_audit_records[-1]
    assert (call.messages, call.model, call.captured_by) == ([], "gpt-5", "httpx")
    assert any("dropped: spool_max_bytes" in note for note in call.encoding_notes)
    assert call.total_tokens == 13


def test_a_version_that_does_not_know_it_leaves_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older llm-audit takes it for a newer one's, and does not count it as damaged."""
    versions = {op: number for op, number in records._VERSIONS.items() if number < 3}
    raw = records.pack(SENT, "c", 0, bson.encode({"sent": {}}))
    records.seal(raw, 1)
    assert records.unpack(bytes(raw)).op == SENT
    monkeypatch.setattr(records, "_VERSIONS", versions)
    monkeypatch.setattr(records, "_OPS", {})
    with pytest.raises(records.JournalVersionError):
        records.unpack(bytes(raw))


def left_by(folder: Path) -> list[Record]:
    """Return what is believed of a journal that another process has left; the rest is set aside."""
    check = of_process(folder.name, names_who_began=True)
    segments = find_segments(folder, check)
    return [record for segment in segments for record in segment.read_on(2**30)]


@pytest.mark.usefixtures("in_production")
def test_who_adopts_a_journal_reads_it_the_same() -> None:
    """Of what its process has seen all is believed, as far as that process may say it."""
    recorded([seen(), seen(b"{", b"\xff", attempts=[{"status": 500}], notes=["n"])])
    [folder] = Path(get_settings().spool_dir).glob("*/*-*")

    assert left_by(folder) == journaled()


@pytest.mark.usefixtures("in_production")
def test_what_no_process_has_seen_is_not_believed(tmp_path: Path) -> None:
    """Whoever may write into a spool can make a record whole, and yet have no more believed."""
    recorded([seen()])
    [file] = Path(get_settings().spool_dir).rglob("*.bson")
    sent, received = (unsealed(raw) for raw in bson.decode_all(file.read_bytes(), ANY_VALUE))
    forged = [
        *({**sent, "doc": {**sent["doc"], **odd}} for odd in (
            *({"sent": 5}, {"sent": {"api": 5}}, {"sent": {"api": "a", "more": 1}}, {"body": "x"}),
            *({"status": "SUCCESS"}, {"process_nonce": "another"}, {"sent": {"streamed": "yes"}}),
        )),
        *({**received, "doc": {**received["doc"], **odd}} for odd in (
            *({"received": 5}, {"received": {"status": "x"}}, {"received": {"notes": [5]}}),
            *({"body": 5}, {"asked": []}, {"messages": []}, {"outcome_key": 1}),
            {"received": {"failed": {"_id": "x"}}, "body": b""},
        )),
    ]  # fmt: skip
    folder = tmp_path / "spool" / file.parent.name
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    for number, record in enumerate(forged, start=1):
        doc = bson.encode(record["doc"])
        raw = records.pack(record["op"], record["id"], record["key"], doc)
        records.seal(raw, number)
        with (folder / "00000001.bson").open("ab") as out:
            out.write(raw)
    (folder / "00000001.bson").chmod(0o600)

    assert left_by(folder) == []


def unsealed(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("op", "id", "key", "doc")}


KINDS = ("application/json", "text/event-stream", "application/x-ndjson", "text/html", "a/b; c=d")
BEGINS = (b"", b"{", b'{"model": ', b'data: {"choices": [', b"[{", b"--x\r\n", b"\x1f\x8b", b"\0\0")


@given(
    st.tuples(st.sampled_from(BEGINS), st.binary(max_size=400)),
    st.sampled_from(KINDS) | st.text(max_size=30) | st.none(),
    st.sampled_from(("gzip", "br", "deflate", "?", None)),
    st.sampled_from(ROWS),
    st.tuples(st.integers(100, 599) | st.none(), st.booleans()),
)
def test_any_bytes_are_read(
    body: tuple[bytes, bytes],
    kind: str | None,
    packed: str | None,
    row: Api,
    how: tuple[int | None, bool],
) -> None:
    """Whoever reads a journal gets a start and an outcome of whatever was seen."""
    status, streamed = how
    api = Asked((row,), streamed=streamed)
    request = sent.told(exchange.Sent("httpx", api, URL, content_type=kind))
    came = exchange.Received(api, b"", status, kind, packed, streamed=streamed)
    answer = received.told(came, None)
    end = {"asked": [None, None], "completed_at": NOW, "outcome_key": 1, "latency_ms": 1.5}
    for op, told in ((SENT, {"sent": request}), (RECEIVED, {**end, "received": answer})):
        doc = bson.encode({**told, "body": b"".join(body)}, codec_options=CODEC_OPTIONS)
        record = Record(op, "c", 1, 1, doc, (), ())
        made = made_of(record)
        assert made == made_of(record)
        fields = bson.decode(made.doc, ANY_VALUE)
        assert op == SENT or fields["status"] in LLMCallStatusEnum.__members__
        assert fields.keys() <= {*CallFields.model_fields, "latency_ms"}
