"""A body that is stored unread is one in which nothing would be replaced once it is read."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from patience import LONG, share
from planted_secrets import INNOCENT, MARK, REQUESTS, TEXTS
from properties import given, st
from recorded_traffic import TRAFFIC, recorded_calls

from llm_audit.encoding.notes import Notes
from llm_audit.encoding.sanitise import sanitise
from llm_audit.given import received, sent
from llm_audit.redaction.apply import Redaction
from llm_audit.redaction.secrets import raw
from llm_audit.settings import get_settings

JSON = {"content_type": "application/json"}
SSE = {"content_type": "text/event-stream", "streamed": True}
ASKED = ("openai", "gpt-5")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SHORT = [text for text in TEXTS if len(text) < 300]


def is_left(fields: dict[str, Any]) -> bool:
    """Tell whether all rules for secrets together leave fields as they are."""
    redaction = Redaction(get_settings())
    document = sanitise(fields, Notes())
    doc = bson.encode(document)
    if redaction.is_clean(doc, document):
        return True
    _, counts = redaction.rewrite(document)
    return not counts


def check_request(body: bytes, api: str = "openai.chat") -> bool:
    """Look at a request, and whether that was right; return whether it is stored unread."""
    told = {"api": api, **JSON}
    clean = raw.is_clean(b"", body, told)
    assert not clean or is_left(sent.fields_of(told, body)), body
    return clean


def check_answer(body: bytes, api: str, **told: Any) -> bool:
    """Do the same with an answer."""
    said = {"api": api, "status": 200, **told}
    clean = raw.is_clean(b"", body, said)
    assert not clean or is_left(received.fields_of(said, body, ASKED, NOW)), body
    return clean


def spellings(value: Any) -> Iterator[bytes]:
    """Yield JSON of a value as clients write it, and as nobody does."""
    for ascii_only, separators in itertools.product(
        (True, False), ((",", ":"), (", ", ": "), (",", "\n : \t"))
    ):
        text = json.dumps(value, ensure_ascii=ascii_only, separators=separators, default=str)
        yield text.encode()
        yield text.replace("/", "\\/").encode()
    yield json.dumps(value, indent=2, default=str).encode()
    yield escaped(json.dumps(value, default=str))


def escaped(text: str) -> bytes:
    r"""Return JSON with every letter and sign of its texts as \u.... in capitals or not."""
    out, in_text, i = [], False, 0
    while i < len(text):
        one = text[i]
        if one == "\\":
            out.append(text[i : i + 2])
            i += 2
            continue
        if one == '"':
            in_text = not in_text
        out.append(f"\\u{ord(one):04X}" if in_text and one != '"' else one)
        i += 1
    return "".join(out).encode()


def in_requests(secret: Any) -> Iterator[dict[str, Any]]:
    """Yield requests that have something in each place where there may be any."""
    yield {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "extra": secret}
    yield {"messages": [{"role": "user", "content": [{"type": "text", "text": secret}]}]}
    arguments = json.dumps({"a": secret}, default=str)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    yield {"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]}
    yield {"model": "m", "messages": [{"role": "user", "content": json.dumps(arguments)}]}
    if isinstance(secret, dict):
        yield {"model": "m", "messages": [], **secret}


def test_no_secret_of_a_request_is_stored_unread() -> None:
    """Whatever it looks like, wherever it stands, however the JSON is written."""
    for secret in (*REQUESTS, *TEXTS):
        for request in in_requests(secret):
            if MARK in json.dumps(request, default=str):
                for body in spellings(request):
                    assert not check_request(body), body


def test_secrets_in_disguise_are_not_stored_unread() -> None:
    """Wide letters, and signs that nobody sees, may also be written as they are or as escapes."""
    for hidden in ("\u200b", "\u00ad", "\u2060"):
        text = f"s{hidden}k-{hidden}proj-{hidden.join(MARK)}0123456789"
        for body in spellings({"model": "m", "messages": [{"role": "user", "content": text}]}):
            assert not check_request(body), body
    wide = "".join(chr(ord(one) + 0xFEE0) for one in f"sk-proj-{MARK}0123")
    for body in spellings({"messages": [{"role": "user", "content": wide}]}):
        assert not check_request(body), body


def test_what_is_no_plain_json_is_read_first() -> None:
    """UTF-16, forms, what is packed, and what has other signs where JSON begins."""
    text = json.dumps({"model": "m", "messages": []})
    for body in (text.encode("utf-16-le"), text.encode("utf-32"), b"--x\r\n", b"a=b", b"\x1f\x8b"):
        assert not raw.is_clean(b"", body, JSON)
    assert not raw.is_clean(b"", text.encode(), {**JSON, "content_encoding": "br"})
    assert not raw.is_clean(
        b"", text.encode(), {"content_type": "application/x-www-form-urlencoded"}
    )
    assert raw.is_clean(b"", text.encode(), JSON)
    assert raw.is_clean(b"", b"", JSON)


def test_most_of_what_is_sent_is_stored_unread() -> None:
    """A look that finds too much would cost every call the time that it is there to save."""
    for innocent in INNOCENT:
        check_request(json.dumps({"model": "m", "messages": [], **innocent}).encode())
    for text in ("Grüße aus Wien! \U0001f600 “Ça va?”", "日本語", "line\n\tnext", 'a "quote" \\ '):
        for ascii_only in (True, False):
            request = {"model": "m", "messages": [{"role": "user", "content": text}]}
            assert check_request(json.dumps(request, ensure_ascii=ascii_only).encode()), text


@pytest.mark.many
@pytest.mark.skipif(not TRAFFIC.is_dir(), reason=f"no recorded traffic in {TRAFFIC}")
def test_the_look_is_right_about_all_of_the_traffic() -> None:
    """Of what real clients and providers sent most is stored unread, and nothing with a secret."""
    looks = []
    for number, call in enumerate(share(recorded_calls(), 3)):
        if call["request"]:
            body = json.dumps(call["request"], ensure_ascii=number % 2 == 0).encode()
            looks.append(check_request(body))
        if call["response"]:
            looks.append(check_answer(json.dumps(call["response"]).encode(), "openai.chat", **JSON))
        if call.get("sse"):
            looks.append(check_answer(call["sse"].encode(), "openai.chat", **SSE))
    assert len(looks) > (2_000 if LONG else 650)
    assert sum(looks) > 0.9 * len(looks)


# Streams


def cut(text: str, lengths: list[int]) -> Iterator[str]:
    """Yield a text in pieces."""
    at = 0
    for length in itertools.cycle(lengths):
        if at >= len(text):
            return
        yield text[at : at + length]
        at += length


def sse(*events: Any) -> bytes:
    lines = (event if isinstance(event, str) else json.dumps(event) for event in events)
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def chat(delta: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta}]}


def arguments(text: str, index: int = 0) -> dict[str, Any]:
    return chat({"tool_calls": [{"index": index, "function": {"arguments": text}}]})


def streams(text: str, lengths: list[int]) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield streams in which a text comes in pieces: of each API, with and without others between.

    The last pieces are missing, so that nothing has the text as a whole.
    """
    pieces = [*cut(text, lengths)]
    other = [*cut("The quick brown fox jumps over the lazy dog. " * 9, [5])]
    yield "openai.chat", sse(*(chat({"content": one}) for one in pieces)), SSE
    yield "openai.chat", sse(*(chat({"reasoning": one}) for one in pieces), "[DONE]"), SSE
    yield "openai.chat", sse(*map(arguments, pieces)), SSE
    two = zip(pieces, other, strict=False)
    turns = [event for one, more in two for event in (arguments(one), arguments(more, 1))]
    yield "openai.chat", sse(*turns), SSE
    two = zip(pieces, other, strict=False)
    choices = [chat({"content": t}, n) for pair in two for n, t in enumerate(pair)]
    yield "openai.chat", sse(*choices), SSE
    both = [
        chat({"content": one if number % 2 else [{"type": "text", "text": one}]})
        for number, one in enumerate(pieces)
    ]
    yield "openai.chat", sse(*both), SSE
    for kind, name in (("text_delta", "text"), ("input_json_delta", "partial_json")):
        block = (
            {"type": "text", "text": ""} if name == "text" else {"type": "tool_use", "input": {}}
        )
        yield (
            "anthropic.messages",
            sse(
                {"type": "message_start", "message": {"id": "m", "content": []}},
                {"type": "content_block_start", "index": 0, "content_block": block},
                *(
                    {"type": "content_block_delta", "index": 0, "delta": {"type": kind, name: one}}
                    for one in pieces
                ),
            ),
            SSE,
        )
    at = {"output_index": 0, "content_index": 0, "item_id": "i"}
    deltas = ({"type": "response.output_text.delta", **at, "delta": one} for one in pieces)
    yield "openai.responses", sse({"type": "response.created", "response": {}}, *deltas), SSE
    refusing = ({"type": "response.refusal.delta", **at, "delta": one} for one in other)
    saying = ({"type": "response.output_text.delta", **at, "delta": one} for one in pieces)
    yield "openai.responses", sse(*itertools.chain(*zip(saying, refusing, strict=False))), SSE
    parts = [{"candidates": [{"content": {"parts": [{"text": one}]}}]} for one in pieces]
    yield "google.generate_content", sse(*parts), SSE
    for beside in ({"index": 1}, {}):  # the first place is often left out
        thought = {"text": "hm", **({} if beside else {"thought": True})}
        more = {"candidates": [{"content": {"parts": [thought]}, **beside}]}
        yield "google.generate_content", sse(*(e for one in parts for e in (one, more))), SSE
    array = json.dumps(parts, indent=1).encode()
    yield "google.generate_content", array, {**JSON, "streamed": True}
    lines = [json.dumps({"model": "m", "message": {"content": one}}) for one in pieces]
    yield "ollama.chat", "\n".join(lines).encode(), {"content_type": "application/x-ndjson"}
    yield "ollama.chat", "\r\n".join(lines).encode(), JSON
    yield "ollama.chat", "\n ".join(lines).encode(), {"content_type": "application/jsonl"}
    yield from more_streams(pieces, other)


def more_streams(
    pieces: list[str], other: list[str]
) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield those of APIs that few ask."""
    for api, piece in (
        ("cloudflare.run", lambda one: {"response": one, "p": "abc"}),
        ("llama_cpp.completion", lambda one: {"index": 0, "content": one, "stop": False}),
        ("triton.generate", lambda one: {"model_name": "m", "text_output": one}),
        ("sglang.generate", lambda one: {"text": one, "meta_info": {"id": "x"}}),
        (
            "dashscope.generation",
            lambda one: {"output": {"choices": [{"message": {"content": one}}]}},
        ),
        (
            "dashscope.generation",
            lambda one: {"output": {"choices": [{"message": {"content": [{"text": one}]}}]}},
        ),
        ("dashscope.generation", lambda one: {"output": {"text": one}}),
    ):
        yield api, sse(*map(piece, pieces)), SSE
    for counted in (True, False):
        turns = [
            {"type": "stream_chunk", **({"index": index} if counted else {}), "completion": text}
            for pair in zip(pieces, other if counted else [""] * len(pieces), strict=False)
            for index, text in enumerate(pair)
        ]
        yield "alephalpha.complete", sse(*turns), SSE
    yield (
        "lmstudio.chat",
        sse(
            *({"type": "reasoning.delta", "content": one} for one in other[:3]),
            *({"type": "message.delta", "content": one} for one in pieces),
        ),
        SSE,
    )
    steps = [
        {"event_type": "step.delta", "index": index, "delta": {"type": "text", "text": text}}
        for pair in zip(pieces, other, strict=False)
        for index, text in enumerate(pair)
    ]
    yield "google.interactions", sse(*steps[::2]), SSE
    yield "google.interactions", sse(*steps), SSE


@pytest.mark.parametrize("lengths", [[1], [3, 5, 2], [40]])
def test_no_secret_that_comes_in_pieces_is_stored_unread(lengths: list[int]) -> None:
    """What no piece shows is seen where they are put together."""
    shown = set()
    for text in (*SHORT, json.dumps({"api_key": MARK}), f"https://a:{MARK}@b"):
        for api, body, told in streams(text, lengths):
            read = received.fields_of({"api": api, "status": 200, **told}, body, ASKED, NOW)
            if not is_left(read):
                shown.add(api)
                assert not check_answer(body, api, **told), body
    assert len(shown) == 13


def interrupted(pieces: list[str], other: str) -> Iterator[tuple[str, bytes]]:
    """Yield streams in which others of a text's name stand between its pieces."""
    said = [{"choices": [{"index": 0, "delta": {"content": one}}]} for one in pieces]
    both = [
        {"choices": [{"index": 0, "delta": {"content": one}, "message": {"content": one}}]}
        for one in pieces
    ]
    yield "openai.chat", sse(*both)
    cited = chat({"annotations": [{"type": "url_citation", "url_citation": {"content": other}}]})
    yield "openai.chat", sse(*said[:2], cited, *said[2:])
    yield "openai.chat", sse(*({**one, "beside": {"content": other}} for one in said))
    yield "openai.chat", sse(*said).replace(b'"content"', b'"cont\\u0065nt"', 2)
    yield "openai.chat", sse(*said).replace(b'{"content"', b'{"content": "", "content"')
    yield "openai.chat", sse(*said).replace(b'{"content"', b'{"content": "no", "content"')
    yield "openai.chat", sse(*said).replace(b"\n\n", b'\n\n: {"content": "no"}\n\n')
    cut_off = sse(said[0]).partition(b'"}')[0] + b"\n\n"
    yield "openai.chat", sse(*said[:2]) + cut_off + sse(*said[2:])
    stopped = {"stop": {"text": other}}
    yield "openai.completions", sse(*({"choices": [{"text": t, **stopped}]} for t in pieces))
    events: list[dict[str, Any]] = [
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": one}}}}
        for one in pieces
    ]
    citation = {"type": "citation-start", "index": 0}
    citation |= {"delta": {"message": {"citations": {"start": 0, "text": other}}}}
    yield "cohere.chat", sse(*events[:2], citation, *events[2:])
    parts: list[dict[str, Any]] = [{"content": {"parts": [{"text": one}]}} for one in pieces]
    parts[0]["groundingMetadata"] = {"groundingChunks": [{"retrievedContext": {"text": other}}]}
    yield "google.generate_content", sse(*({"candidates": [one]} for one in parts))


def test_what_stands_between_the_pieces_of_a_text_hides_no_secret() -> None:
    """A citation, what is said twice, a comment, half a line: others of the same name."""
    for text in SHORT:
        for api, body in interrupted([*text], "hm"):
            check_answer(body, api, **SSE)


def test_most_streams_are_stored_unread() -> None:
    """One text at a time costs no more than a look."""
    clean = {
        api
        for api, body, told in streams("The quick brown fox: “jumps”. " * 20, [4])
        if check_answer(body, api, **told)
    }
    assert len(clean) >= 12
    spaced = sse({"type": "ping"})  # which Anthropic writes between events that are not
    for pieces in (['{"a', '": "b', '"}'], ['{\\"a\\', '": \\"b"}'], ["{'a': '", "b'}\n"]):
        compact = sse(*map(arguments, pieces)).replace(b'": ', b'":').replace(b", ", b",")
        assert check_answer(spaced + compact, "openai.chat", **SSE), pieces


@given(
    st.sampled_from(SHORT),
    st.text(max_size=20),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.integers(0, 31),
)
def test_the_look_is_right_about_any_stream(
    secret: str, before: str, lengths: list[int], which: int
) -> None:
    """Wherever pieces begin, and whatever stands before."""
    found = [*streams(before + secret, lengths)]
    api, body, told = found[which % len(found)]
    check_answer(body, api, **told)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(SHORT),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=12) | st.sampled_from(("api_key", "Authorization", "auth", "name")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES, st.integers(0, 13))
def test_the_look_is_right_about_any_request(value: Any, which: int) -> None:
    """Whatever is in it, and however that is written."""
    for request in in_requests(value):
        bodies = [*spellings(request)]
        check_request(bodies[which % len(bodies)])


@given(st.binary(max_size=300), st.sampled_from((b"", b"{", b"[", b"data: {")))
def test_the_look_is_right_about_any_bytes(body: bytes, begins: bytes) -> None:
    """What is no JSON is stored as it came, and looked at all the same."""
    check_request(begins + body)
    for told in (JSON, SSE, {}):
        check_answer(begins + body, "openai.chat", **told)
